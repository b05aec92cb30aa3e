--- The words that stories are made of: people, animals, places and things, and what belongs to each.
--
-- The first entries of a list are drawn most often.
local words = {}

-- he, him, his
local MALE = {"he", "him", "his"}
local FEMALE = {"she", "her", "her"}

local function people(names, pronouns, noun)
  local list = {}
  for name in names:gmatch("%a+") do list[#list + 1] = {name = name, pronouns = pronouns, noun = noun} end
  return list
end

--- words.girls, words.boys: names of children.
words.girls = people("Lily Mia Anna Emma Rose Ella Lucy Nora Ruby Zoe Clara Ivy", FEMALE, "girl")
words.boys = people("Tom Ben Max Sam Leo Jack Finn Noah Oscar Hugo Theo Felix", MALE, "boy")

--- words.relatives: the grown-ups and others at home, with whom they are talked about.
words.relatives = {
  {name = "mother", pronouns = FEMALE}, {name = "father", pronouns = MALE},
  {name = "grandmother", pronouns = FEMALE}, {name = "grandfather", pronouns = MALE},
  {name = "sister", pronouns = FEMALE}, {name = "brother", pronouns = MALE},
  {name = "aunt", pronouns = FEMALE}, {name = "uncle", pronouns = MALE},
}

--- words.animals: with where they live, what they eat, how they move and what they say.
words.animals = {
  {noun = "rabbit", home = "burrow", food = "carrots", moves = "hopped", call = "squeaked", size = "small"},
  {noun = "fox", home = "den", food = "berries", moves = "ran", call = "barked", size = "clever"},
  {noun = "mouse", home = "hole", food = "cheese", moves = "crept", call = "squeaked", size = "tiny"},
  {noun = "bear", home = "cave", food = "honey", moves = "walked", call = "growled", size = "big"},
  {noun = "bird", home = "nest", food = "seeds", moves = "flew", call = "sang", size = "tiny"},
  {noun = "cat", home = "basket", food = "milk", moves = "crept", call = "purred", size = "soft"},
  {noun = "dog", home = "kennel", food = "bones", moves = "ran", call = "barked", size = "brave"},
  {noun = "frog", home = "pond", food = "flies", moves = "hopped", call = "croaked", size = "green"},
  {noun = "duck", home = "lake", food = "bread", moves = "swam", call = "quacked", size = "white"},
  {noun = "squirrel", home = "tree", food = "nuts", moves = "climbed", call = "chattered", size = "quick"},
  {noun = "owl", home = "tower", food = "worms", moves = "flew", call = "hooted", size = "wise"},
  {noun = "turtle", home = "shell", food = "leaves", moves = "crawled", call = "whispered", size = "slow"},
  {noun = "hedgehog", home = "bush", food = "apples", moves = "crawled", call = "whispered", size = "round"},
  {noun = "horse", home = "stable", food = "hay", moves = "trotted", call = "neighed", size = "strong"},
  {noun = "goat", home = "meadow", food = "grass", moves = "climbed", call = "bleated", size = "stubborn"},
  {noun = "hen", home = "coop", food = "corn", moves = "walked", call = "clucked", size = "busy"},
}

--- words.places: each with things that something can be under, behind or beside, and what one can do there.
words.places = {
  {noun = "park", spots = {"bench", "slide", "swing"}, play = "climb on the slide"},
  {noun = "garden", spots = {"fence", "shed", "wall"}, play = "water the flowers"},
  {noun = "forest", spots = {"log", "oak", "stump"}, play = "look for mushrooms"},
  {noun = "beach", spots = {"rock", "boat", "towel"}, play = "dig in the sand"},
  {noun = "farm", spots = {"barn", "gate", "tractor"}, play = "feed the chickens"},
  {noun = "river", spots = {"bridge", "stones", "reeds"}, play = "catch little fish"},
  {noun = "school", spots = {"desk", "stairs", "shelf"}, play = "paint a picture"},
  {noun = "market", spots = {"stall", "cart", "crates"}, play = "smell the spices"},
  {noun = "library", spots = {"lamp", "ladder", "curtain"}, play = "read old stories"},
  {noun = "castle", spots = {"throne", "well", "statue"}, play = "count the windows"},
  {noun = "hill", spots = {"tent", "path", "thistle"}, play = "roll down the grass"},
  {noun = "village", spots = {"fountain", "church", "bakery"}, play = "listen to the bells"},
}

--- words.things: what can be had, lost and shared, with what one does with it.
words.things = {
  {noun = "ball", use = "throw"}, {noun = "kite", use = "fly"}, {noun = "book", use = "read"},
  {noun = "doll", use = "dress"}, {noun = "hat", use = "wear"}, {noun = "drum", use = "beat"},
  {noun = "scarf", use = "wear"}, {noun = "ship", use = "sail"}, {noun = "bell", use = "ring"},
  {noun = "flute", use = "play"}, {noun = "car", use = "push"}, {noun = "balloon", use = "hold"},
  {noun = "puzzle", use = "solve"}, {noun = "lantern", use = "light"}, {noun = "whistle", use = "blow"},
  {noun = "puppet", use = "move"}, {noun = "marble", use = "roll"}, {noun = "necklace", use = "wear"},
}

--- words.colours
words.colours = {"red", "blue", "yellow", "green", "white", "golden", "brown", "purple", "orange", "pink", "silver",
  "black"}

--- words.weather: each with what it looks like, and what one needs then.
words.weather = {
  {sky = "sunny", signs = "the sun was shining", need = "a hat", ground = "warm"},
  {sky = "rainy", signs = "rain was falling", need = "an umbrella", ground = "wet"},
  {sky = "windy", signs = "the wind was blowing", need = "a jacket", ground = "dry"},
  {sky = "snowy", signs = "snow lay on the roofs", need = "warm gloves", ground = "frozen"},
  {sky = "cloudy", signs = "grey clouds hung low", need = "a coat", ground = "cool"},
  {sky = "foggy", signs = "thick fog hid the houses", need = "a torch", ground = "damp"},
  {sky = "stormy", signs = "thunder rolled far away", need = "tall boots", ground = "muddy"},
}

--- words.dishes: each with what is in it and how one makes it.
words.dishes = {
  {noun = "cake", parts = {"flour", "eggs", "sugar"}, make = "bake"},
  {noun = "soup", parts = {"onions", "potatoes", "salt"}, make = "cook"},
  {noun = "pie", parts = {"butter", "cherries", "flour"}, make = "bake"},
  {noun = "salad", parts = {"tomatoes", "oil", "herbs"}, make = "mix"},
  {noun = "tea", parts = {"water", "mint", "lemon"}, make = "brew"},
  {noun = "jam", parts = {"plums", "sugar", "cinnamon"}, make = "stir"},
}

--- words.plants: what grows from a seed, and what one picks then.
words.plants = {
  {noun = "sunflower", picks = "petals"}, {noun = "pumpkin", picks = "pumpkins"}, {noun = "bean", picks = "beans"},
  {noun = "tulip", picks = "blossoms"}, {noun = "pear tree", picks = "pears"},
}

--- words.fears: what one may be afraid of, where that is, and what helps.
words.fears = {
  {noun = "the dark", scene = "at night", cure = "a little light", brave = "slept all night"},
  {noun = "deep water", scene = "at the pool", cure = "a slow lesson", brave = "dived to the bottom"},
  {noun = "thunder", scene = "in a storm", cure = "a funny song", brave = "counted the flashes"},
  {noun = "spiders", scene = "in the cellar", cure = "a closer look", brave = "carried one outside"},
  {noun = "high places", scene = "on the bridge", cure = "a firm hand", brave = "crossed without help"},
}

--- words.traits: what somebody is like.
words.traits = {"kind", "curious", "cheerful", "quiet", "brave", "shy", "clever", "lively", "gentle", "proud", "funny",
  "patient"}

return words
