--- The plots of stories: sentences with gaps, in which what happens later follows from what happened before.
--
-- A plot is {name =, steps =}; a step is a text, or a list of texts of which one is drawn. In a text, (a|b|c) is one of
-- the three, and {gap} is filled from the story's characters and things; {Gap} with a capital letter. The gaps:
--
--     hero, friend       names, with trait, kind ("girl", "fox"), he, him, his; friend_he, friend_him, ...
--     relative           with relative_he, relative_him, relative_his
--     animal             with animal_home, animal_food, animal_moves, animal_call, animal_size
--     place              with place_play, spot, other_spot
--     thing              with use, colour; other_thing, other_colour
--     sky, signs, need, ground       the weather
--     dish               with make, part, other_part, last_part
--     plant, picks; fear, scene, cure, courage
local plots = {}

local BEGIN = {
  "(Once upon a time|Long ago), there was a {trait} {kind} (named|called) {hero}.",
  "{Hero} was a {trait} {kind}.",
  "In a (small|quiet) (house|town) lived a {trait} {kind} (named|called) {hero}.",
  "There once was a {kind} (named|called) {hero}, who was very {trait}.",
}

local WEATHER = {
  "One (morning|day) it was {sky}, and {signs}.",
  "It was a {sky} (morning|afternoon|evening).",
  "One {sky} day, {hero} looked out of the window. {Signs}.",
}

local GOOD_END = {
  "From that day on, {hero} and {friend} were the best of friends.",
  "{Hero} (smiled|laughed), and {his} heart felt (light|warm).",
  "That (night|evening), {hero} fell asleep with a smile on {his} face.",
  "And so the day ended (well|happily) for {hero}.",
  "{Hero} would never forget this day.",
}

plots.lost_thing = {
  BEGIN,
  "{He} had a {colour} {thing}, a (gift|present) from {his} {relative}. Every day {he} liked to {use} the {thing}.",
  WEATHER,
  "{Hero} (went|walked) to the {place} with {friend} to {place_play}.",
  {"But when it was time to go home, the {colour} {thing} was gone!", "But then {he} saw that the {thing} was gone!"},
  {"\"Where is my {thing}?\" (cried|asked) {hero}. {He} felt very (sad|worried).",
    "\"Oh no, I have lost my {thing}!\" (cried|said) {hero}, and tears ran down {his} cheeks."},
  {"\"Do not (worry|cry),\" said {friend}. \"We will find it.\"", "\"Let us look for it together,\" said {friend}."},
  "They looked (behind|under) the {spot}, but the {thing} was not there.",
  "Then they asked a {animal}. The {animal} {animal_call} and {animal_moves} to the {other_spot}.",
  {"There, (behind|under) the {other_spot}, lay the {colour} {thing}!",
    "And what was (behind|under) the {other_spot}? It was the {colour} {thing}!"},
  "\"Thank you, {animal}!\" said {hero}, and gave the {animal} some {animal_food}.",
  GOOD_END,
}

plots.rainy_day = {
  BEGIN,
  "{He} wanted to go to the {place} to {place_play}.",
  "But it was {sky}, and {signs}. The ground was {ground}.",
  {"\"You cannot go out without {need},\" said {his} {relative}.", "\"Take {need} with you,\" said {his} {relative}."},
  "{Hero} (looked|searched) everywhere, but {he} could not find {need}. {He} felt (angry|bored).",
  "Then {friend} knocked at the door. {Friend_he} had brought {need} and a {colour} {thing}.",
  "\"Shall we {use} the {thing} inside?\" asked {friend}. \"Yes, please!\" said {hero}.",
  "They sat on the (floor|carpet) and took turns with the {colour} {thing} until it was (dark|late).",
  "In the end {hero} did not miss the {place} at all.",
  GOOD_END,
}

plots.animal_in_need = {
  BEGIN,
  WEATHER,
  "On the way to the {place}, {hero} heard a (strange|faint) (noise|sound).",
  "Something {animal_call} behind the {spot}. It was a {animal_size} {animal}!",
  {"The {animal} had hurt its (leg|foot) and could not go back to its {animal_home}.",
    "The {animal} had lost its way to its {animal_home}, and it was hungry."},
  "\"Poor {animal},\" (said|whispered) {hero}. \"I will help you.\"",
  "{He} ran home and asked {his} {relative} for some {animal_food}.",
  "The {animal} ate all the {animal_food}. Soon it felt (better|strong) again.",
  "Then {hero} carried the {animal} to its {animal_home}.",
  {"The {animal} {animal_call} to say thank you.", "Before it left, the {animal} {animal_call} (twice|loudly)."},
  "The next day, the {animal} waited for {hero} by the {spot}. It had brought a {colour} {thing}!",
  GOOD_END,
}

plots.sharing = {
  BEGIN,
  "{His} best friend was {friend}. They always played together near the {place}.",
  "One day they found a {colour} {thing} (beside|behind) the {spot}.",
  "\"It is mine! I saw it first!\" (said|shouted) {hero}. \"No, it is mine!\" (said|shouted) {friend}.",
  {"They both pulled, and the {thing} broke. {Friend} began to cry.",
    "{Hero} took the {thing} and ran away. {Friend} was left alone and cried."},
  "{Hero} wanted to {use} the {thing}, but it was no fun alone. {He} felt (sorry|lonely|guilty).",
  {"{His} {relative} said, \"A {thing} is only fun if you share it.\"",
    "\"What can I do?\" {he} asked {his} {relative}. \"Say that you are sorry,\" said the {relative}."},
  "So {hero} went back to {friend}. \"I am sorry,\" {he} said. \"You can {use} it too.\"",
  "{Friend} wiped {friend_his} eyes and smiled. First {friend} and then {hero} got to {use} the {thing}.",
  GOOD_END,
}

plots.cooking = {
  BEGIN,
  "It was the birthday of {his} {relative}, and {hero} wanted to {make} some {dish} for {relative_him}.",
  "\"We need {part}, {other_part} and {last_part},\" said {friend}.",
  "They found some {part} in the kitchen, but no {other_part}.",
  "So they went to the market and (bought|got) some {other_part}. An old (farmer|baker) gave them {last_part} too.",
  "At home they put the {part}, the {other_part} and the {last_part} in a (big|large) bowl.",
  {"{Hero} stirred and {friend} tasted. \"It needs more {last_part},\" said {friend}.",
    "Soon the whole kitchen smelled of {dish}."},
  {"When {his} {relative} came home, {relative_he} was very surprised.",
    "\"Happy birthday!\" they called when the {relative} opened the door."},
  "\"This is the best {dish} in the world!\" said the {relative}. They ate until nothing was left.",
  GOOD_END,
}

plots.race = {
  "The {animal} and the {rival} lived near the {place}.",
  "The {animal} always {animal_moves} very (fast|quickly) and was (proud|sure) of it. The {rival} was (slow|careful).",
  "\"Nobody can beat me,\" the {animal} {animal_call}. \"Let us race to the {spot},\" said the {rival}.",
  "All the (animals|children) came to watch. A {judge} counted: \"One, two, three, go!\"",
  {"The {animal} {animal_moves} ahead, but soon it saw some {animal_food} and stopped to eat.",
    "The {animal} was so far ahead that it lay down beside the {other_spot} and fell asleep."},
  "The {rival} did not stop. Step by step, it came closer to the {spot}.",
  "When the {animal} (looked up|turned around), the {rival} was already at the {spot}. The {rival} had won!",
  {"\"Well done,\" said the {animal}. \"I should not have laughed at you.\"",
    "The {animal} was ashamed and went back to its {animal_home}."},
  {"The {judge} gave the {rival} a {colour} {thing}.", "The winner got a {colour} {thing} as a prize."},
  "Those who keep going (often|sometimes) win in the end.",
}

plots.seed = {
  BEGIN,
  "{His} {relative} gave {him} a seed. \"If you take care of it, it will be a {plant},\" {relative_he} said.",
  "{Hero} put the seed in the (earth|soil) near the {spot} and gave it water every morning.",
  {"For many days nothing happened. \"Maybe it is asleep,\" said {friend}.",
    "After one week there was still nothing. {Hero} was (sad|disappointed), but {he} did not give up."},
  "One {sky} morning, {signs}, and a green leaf looked out of the {ground} soil!",
  "\"Come and see, {friend}!\" called {hero}. \"My {plant} is growing!\"",
  "It grew and grew until it was as tall as the {spot}. A {animal} came to (look at|sleep under) it.",
  "In the (summer|autumn), {hero} and {friend} picked the {picks} and gave some to everyone.",
  "\"You were very patient,\" said the {relative}. {Hero} was so proud of the {plant}.",
}

plots.fear = {
  BEGIN,
  "There was only one thing that {he} did not like: {hero} was afraid of {fear}.",
  "{Scene}, {his} knees shook and {he} wanted to hide.",
  {"\"Everyone is afraid of something,\" said {his} {relative}. \"You only need {cure}.\"",
    "\"I was afraid of {fear} too,\" said {his} {relative}. \"Do you know what helped me? It was {cure}.\""},
  "So the next time, {scene}, {hero} took a deep breath. {Friend} held {his} hand.",
  "\"I can do it,\" {he} (said|whispered). And with {cure}, it was not so bad.",
  "After some time {hero} even {courage}!",
  "\"You are not afraid of {fear} any more,\" said {friend}. {Friend_he} (clapped|cheered) for {him}.",
  GOOD_END,
}

plots.treasure = {
  BEGIN,
  "While {he} helped {his} {relative} to clean the (attic|garage), {hero} found an old map of the {place}.",
  "There was a cross on it, (next to|near) the {spot}. \"A treasure!\" (cried|said) {friend}. \"Let us go there!\"",
  WEATHER,
  "They took {need} and (walked|hurried) to the {place}. Next to the {spot} they began to dig.",
  "They dug and dug. At last they hit something hard. It was a {colour} box with a (rusty|heavy) lock!",
  {"But where was the key? A {animal} {animal_call} and {animal_moves} out of its {animal_home} with the key.",
    "{Hero} found the key under the {other_spot}."},
  "The box opened. Inside there was a {other_colour} {thing}, and a letter.",
  "\"Whoever finds this may {use} the {thing},\" it said, \"but must hide something new.\"",
  "So {hero} took the {other_colour} {thing}, and put {his} {other_thing} into the {colour} box.",
  GOOD_END,
}

plots.night = {
  BEGIN,
  "It was late, but {hero} could not sleep. The moon and the stars shone through the window.",
  "{He} thought about the {place} and the {colour} {thing} that {he} had seen there.",
  {"\"Why are you awake?\" asked {his} {relative}. \"I have too many thoughts,\" said {hero}.",
    "A {animal} sat on the roof and {animal_call}. \"Can you not sleep either?\" asked {hero}."},
  "\"Close your eyes,\" said the {relative}, \"and think of the {place}. What do you see?\"",
  "\"I see the {spot} and the {other_spot}. And there is a {animal}!\" said {hero}.",
  "\"And what does the {animal} do?\" \"It eats {animal_food}, and now it goes to sleep in its {animal_home}.\"",
  "{Hero} (yawned|sighed). {His} eyes grew heavy, and soon {he} was asleep.",
  "In {his} dream, {he} and the {animal} could {use} the {colour} {thing} all night long.",
}

plots.new_child = {
  "{Hero} was new at the (school|village), and {he} did not know anyone.",
  "{He} was a {trait} {kind}, but on this day {he} felt (lonely|nervous|shy).",
  "In the break, the others wanted to {use} the {colour} {thing}, but nobody asked {hero}.",
  "Then a {friend_kind} came to {him}. \"I am {friend},\" {friend_he} said. \"What is your name?\"",
  "\"My name is {hero},\" {he} answered (softly|quickly). \"I like your {colour} {thing}.\"",
  {"\"You can {use} it with us,\" said {friend}.", "\"Come, I will show you how to {use} it,\" said {friend}."},
  "{Friend} had a {animal} at home, and {hero} had a {rival}. They talked about {animal_food} and laughed.",
  "After school they went to the {place} to {place_play}.",
  "\"Did you have a good day?\" asked {his} {relative} in the evening. \"Yes,\" said {hero}. \"I have a friend now!\"",
}

return plots
