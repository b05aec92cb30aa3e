std = "lua54"
max_line_length = 120
unused_args = false
-- A tape is open until its variable goes out of scope (<close>), used by name or not.
ignore = { "211/tape", "211/outer", "211/inner" }
files["spec/**/*_spec.lua"] = { std = "+busted" }
files["spec/run.lua"] = { globals = { "arg" } }
