std = "lua54"
max_line_length = 120
unused_args = false
-- These are open until their variables go out of scope (<close>), used by name or not.
ignore = { "211/tape", "211/outer", "211/inner", "211/guard", "211/lock", "211/undo" }
files["spec/**/*_spec.lua"] = { std = "+busted" }
files["spec/run.lua"] = { globals = { "arg" } }
