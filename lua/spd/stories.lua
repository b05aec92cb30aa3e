--- Short children's stories, made by a grammar: text to train a small language model on where there is no other.
--
-- A story is a pure function of a seed and its number. Its characters, places and things are drawn once and come back
-- in later sentences, with the pronouns, food or colour that belong to them: whoever knows the context can tell the
-- next word much better than by the words just before it.
local core = require "spd.core"
local plots = require "spd.stories.plots"
local words = require "spd.stories.words"

local stories = {}

local LONGEST = 192 -- random numbers that a story may take

local plot_names = {}
for name in pairs(plots) do plot_names[#plot_names + 1] = name end
table.sort(plot_names)

-- ---- drawing ------------------------------------------------------------------------------------

-- The random numbers of a story, one by one.
local function numbers_of(seed, n)
  local numbers = core.uniform({LONGEST}, {seed = seed, purpose = "story", step = n}):totable()
  local taken = 0
  return function()
    taken = taken + 1
    return numbers[taken]
  end
end

-- One of a list, all alike.
local function one_of(list, random) return list[math.floor(random() * #list) + 1] end

-- One of a list, of which entry i has a weight of 1 / (i + 2).
local function early_one_of(list, random)
  local sum = 0
  for i = 1, #list do sum = sum + 1 / (i + 2) end
  local left = random() * sum
  for i = 1, #list do
    left = left - 1 / (i + 2)
    if left < 0 then return list[i] end
  end
  return list[#list]
end

-- Another entry than some of the list.
local function another_of(list, random, ...)
  local rest = {}
  for _, entry in ipairs(list) do
    local taken = false
    for _, used in ipairs{...} do taken = taken or used == entry end
    if not taken then rest[#rest + 1] = entry end
  end
  return early_one_of(rest, random)
end

-- ---- gaps ---------------------------------------------------------------------------------------

local function set_person(gaps, prefix, person)
  local pronouns = person.pronouns
  gaps[prefix .. "he"], gaps[prefix .. "him"] = pronouns[1], pronouns[2]
  gaps[prefix .. "his"] = pronouns[3]
end

local function set_characters(gaps, random)
  local hero = early_one_of(random() < 0.5 and words.girls or words.boys, random)
  local friend = another_of(random() < 0.5 and words.girls or words.boys, random, hero)
  local relative = early_one_of(words.relatives, random)
  gaps.hero, gaps.kind, gaps.trait = hero.name, hero.noun, early_one_of(words.traits, random)
  gaps.friend, gaps.friend_kind, gaps.relative = friend.name, friend.noun, relative.name
  set_person(gaps, "", hero)
  set_person(gaps, "friend_", friend)
  set_person(gaps, "relative_", relative)
end

local function set_animals(gaps, random)
  local animal = early_one_of(words.animals, random)
  for key, value in pairs(animal) do gaps["animal_" .. key] = value end
  local rival = another_of(words.animals, random, animal)
  gaps.animal, gaps.rival = animal.noun, rival.noun
  gaps.judge = another_of(words.animals, random, animal, rival).noun
end

local function set_place_and_things(gaps, random)
  local place, thing = early_one_of(words.places, random), early_one_of(words.things, random)
  local colour = early_one_of(words.colours, random)
  gaps.place, gaps.place_play, gaps.spot = place.noun, place.play, one_of(place.spots, random)
  gaps.other_spot = another_of(place.spots, random, gaps.spot)
  gaps.thing, gaps.use, gaps.colour = thing.noun, thing.use, colour
  gaps.other_thing = another_of(words.things, random, thing).noun
  gaps.other_colour = another_of(words.colours, random, colour)
end

local function set_circumstances(gaps, random)
  for key, value in pairs(early_one_of(words.weather, random)) do gaps[key] = value end
  local dish, plant = early_one_of(words.dishes, random), early_one_of(words.plants, random)
  gaps.dish, gaps.make, gaps.part, gaps.other_part, gaps.last_part = dish.noun, dish.make, table.unpack(dish.parts)
  gaps.plant, gaps.picks = plant.noun, plant.picks
  local fear = early_one_of(words.fears, random)
  gaps.fear, gaps.scene, gaps.cure, gaps.courage = fear.noun, fear.scene, fear.cure, fear.brave
end

-- What fills the gaps of a story.
local function draw_gaps(random)
  local gaps = {}
  set_characters(gaps, random)
  set_animals(gaps, random)
  set_place_and_things(gaps, random)
  set_circumstances(gaps, random)
  return gaps
end

-- ---- text ---------------------------------------------------------------------------------------

local function capitalized(text) return text:sub(1, 1):upper() .. text:sub(2) end

-- A text of a plot with its alternatives drawn and its gaps filled.
local function fill(text, gaps, random)
  text = text:gsub("%((.-)%)", function(group)
    local alternatives = {}
    for alternative in group:gmatch("[^|]+") do alternatives[#alternatives + 1] = alternative end
    return early_one_of(alternatives, random)
  end)
  text = text:gsub("{([%w_]+)}", function(gap)
    local value = gaps[gap]
    if value then return value end
    value = gaps[gap:sub(1, 1):lower() .. gap:sub(2)]
    return value and capitalized(value)
  end)
  return (text:gsub("%f[%a]([Aa]) ([aeiou])", "%1n %2"))
end

--- stories.story(seed, n) -> text
-- Story number n, counted from 0, of those that a seed names: always the same one, on one line.
function stories.story(seed, n)
  local random = numbers_of(seed, n)
  local plot, gaps, sentences = plots[one_of(plot_names, random)], draw_gaps(random), {}
  for i, step in ipairs(plot) do
    if type(step) == "table" then step = early_one_of(step, random) end
    sentences[i] = fill(step, gaps, random)
  end
  return table.concat(sentences, " ")
end

-- ---- vocabulary ---------------------------------------------------------------------------------

local function collect(value, found)
  if type(value) == "string" then
    for word in value:gsub("{[%w_]+}", " "):lower():gmatch("%a+") do found[word] = true end
  elseif type(value) == "table" then
    for _, entry in pairs(value) do collect(entry, found) end
  end
end

--- stories.words() -> list
-- All words that stories can have, in lower case and sorted.
function stories.words()
  local found, list = {a = true, an = true}, {}
  collect(words, found)
  collect(plots, found)
  for word in pairs(found) do list[#list + 1] = word end
  table.sort(list)
  return list
end

return stories
