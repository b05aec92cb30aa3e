--- All keys of the configs: their types, defaults and constraints. spd.config reads configs by these tables.
--
-- A field is {key =, type =, description =} with
--   required      it must be given (where it has no default)
--   default       its value when it is not given; with optional, nothing
--   optional      null is allowed
--   min, above, max   limits of a number: at least, more than, at most
--   choices       the words that a "choice" may be
--   fields, or variants and tag   of a "group": its keys, or its keys for each value of the key named by tag
local schema = {}

local LARGEST_SIZE = (1 << 31) - 1
local LARGEST_STEP = (1 << 32) - 2

local function size(key, description, options)
  local field = {key = key, type = "integer", min = 1, max = LARGEST_SIZE, description = description}
  for name, value in pairs(options or {required = true}) do field[name] = value end
  return field
end

local function coefficient(key, description, options)
  local field = {key = key, type = "number", min = 0, optional = true, description = description}
  for name, value in pairs(options or {}) do field[name] = value end
  return field
end

local function flag(key, default, description)
  return {key = key, type = "boolean", default = default, description = description}
end

local function text(key, options, description)
  local field = {key = key, type = "string", description = description}
  for name, value in pairs(options) do field[name] = value end
  return field
end

local DATA_TYPES = {"at_least_zero_active", "exactly_one_active", "exactly_two_active",
                    "exactly_three_active", "exactly_four_active", "exactly_five_active"}

local feature_probability = {key = "feature_probability", type = "number", above = 0, max = 1,
  required = true, description = "Probability that a feature is active in a sample."}
local data_generation_type = {key = "data_generation_type", type = "choice", choices = DATA_TYPES,
  default = "at_least_zero_active",
  description = "Features are active independently, or exactly so many of them in every sample."}
local seed = {key = "seed", type = "integer", min = 0, max = (1 << 53) - 1, default = 0,
  description = "Seed of all random numbers: equal seeds give equal runs."}

local lr_schedule = {key = "lr_schedule", type = "choice", choices = {"linear", "constant", "cosine", "exponential"},
  default = "constant", description = "How the learning rate falls; cosine is a quarter period."}
local lr_exponential_halflife = {key = "lr_exponential_halflife", type = "number", above = 0, optional = true,
  description = "Steps in which an exponential schedule halves the learning rate."}

local wandb = {
  text("wandb_project", {optional = true},
    "Weights & Biases project: leaves a folder for `wandb sync` under wandb/. Null: none."),
  text("wandb_run_name", {optional = true}, "Name of the run there; null: one made of the main settings."),
  text("wandb_run_name_prefix", {default = ""}, "Prefix of that name."),
}

local components = {
  seed,
  size("C", "Number of subcomponents of each matrix."),
  size("n_mask_samples", "Random masks drawn for each stochastic loss.", {required = true, max = 65535}),
  size("n_ci_mlp_neurons", "Neurons of the MLP that computes a causal importance; 0: a linear gate.",
    {min = 0, default = 0}),
  {key = "target_module_patterns", type = "strings", required = true,
    description = "Names of the matrices to decompose; * stands for any text, dots included."},
  {key = "tied_update", type = "choice", choices = {"summed", "separate"}, default = "summed",
    description = "Step of tied components: one with the summed gradient, or one for each matrix."},
}

local losses = {
  coefficient("faithfulness_coeff", "Weight of: the components sum to the target matrix.", {default = 1.0}),
  coefficient("recon_coeff", "Weight of: outputs with all matrices masked by their causal importances."),
  coefficient("stochastic_recon_coeff", "Weight of: the same with random masks above these importances."),
  coefficient("recon_layerwise_coeff", "Weight of: outputs with one matrix masked at a time."),
  coefficient("stochastic_recon_layerwise_coeff", "Weight of: the same with random masks."),
  coefficient("importance_minimality_coeff", "Weight of: few causal importances are large.",
    {required = true}),
  coefficient("schatten_coeff", "Weight of: causal importances times squared norms of the subcomponents."),
  coefficient("out_recon_coeff", "Weight of: outputs with all subcomponents unmasked."),
  coefficient("embedding_recon_coeff", "Weight of: the masked embedding (for one decomposed embedding)."),
  flag("is_embed_unembed_recon", false, "Measure that loss after the model's unembedding."),
  {key = "pnorm", type = "number", above = 0, required = true,
    description = "Exponent p of the importance minimality loss."},
  {key = "output_loss_type", type = "choice", choices = {"mse", "kl"}, required = true,
    description = "Distance of outputs: mean squared error, or KL divergence of softmax distributions."},
}

local training = {
  {key = "lr", type = "number", above = 0, required = true, description = "Learning rate."},
  size("steps", "Number of optimization steps.", {required = true, max = LARGEST_STEP}),
  size("batch_size", "Samples in a batch."),
  lr_schedule,
  lr_exponential_halflife,
  {key = "lr_warmup_pct", type = "number", min = 0, max = 1, default = 0.0,
    description = "Fraction of the steps in which the learning rate rises to its value."},
  size("n_eval_steps", "Batches of an evaluation."),
}

local logging = {
  size("image_freq", "Steps between figures; null: none while training.", {optional = true}),
  flag("image_on_first_step", true, "Draw figures at step 0 too."),
  size("print_freq", "Steps between logged numbers."),
  size("save_freq", "Steps between checkpoints; null: by time only.", {optional = true}),
  {key = "checkpoint_seconds", type = "number", above = 0, default = 60.0,
    description = "Longest time between two checkpoints."},
  flag("log_ce_losses", false, "Log cross-entropies of a language model too."),
  flag("tensorboard", false, "Write TensorBoard event files in the run's folder."),
}

local pretrained_model = {
  text("pretrained_model_class", {required = true}, "Class of the target model in the public code."),
  text("pretrained_model_path", {optional = true}, "File of the target's weights."),
  text("target_config", {optional = true}, "Config that trains the target if there is no such file."),
  text("pretrained_model_name_hf", {optional = true}, "Name of a Hugging Face model."),
  text("pretrained_model_output_attr", {optional = true}, "Which of the model's outputs is compared."),
  text("tokenizer_name", {optional = true}, "Name of the tokenizer of a language model."),
}

local function task_name(name)
  return {key = "task_name", type = "choice", choices = {name}, required = true,
    description = "Kind of experiment."}
end

local tasks = {
  tms = {task_name "tms", feature_probability, data_generation_type},
  residual_mlp = {task_name "residual_mlp", feature_probability, data_generation_type},
  lm = {
    task_name "lm",
    size("max_seq_len", "Tokens in a sample.", {default = 512}),
    size("buffer_size", "Samples among which a streamed data set is shuffled.", {default = 1000}),
    text("dataset_name", {default = "lennart-finke/SimpleStories"}, "Data set of texts."),
    text("column_name", {default = "story"}, "Its column that holds the text."),
    text("train_data_split", {default = "train"}, "Its part for training."),
    text("eval_data_split", {default = "test"}, "Its part for evaluation."),
  },
}

local task = {
  {key = "task_config", type = "group", tag = "task_name", variants = tasks, required = true,
    description = "What depends on the kind of experiment."},
}

local function join(...)
  local fields = {}
  for _, section in ipairs {...} do table.move(section, 1, #section, #fields + 1, fields) end
  return fields
end

--- schema.decomposition: the config of a decomposition.
schema.decomposition = join(wandb, components, losses, training, logging, pretrained_model, task)

--- schema.own_model: the same without target and task, for a script that brings its own model and data.
schema.own_model = join(wandb, components, losses, training, logging)

-- Keys that the configs of all toy targets have.
local function toy_target(model_key, model_fields, own)
  return join({
    text("wandb_project", {optional = true}, "Has no effect: only decompositions are tracked."),
    {key = model_key, type = "group", required = true, description = "The model.", fields = model_fields},
    feature_probability,
    size("batch_size", "Samples in a batch."),
    size("steps", "Number of optimization steps.", {required = true, max = LARGEST_STEP}),
    seed,
    {key = "lr", type = "number", above = 0, required = true, description = "Learning rate."},
  }, own, {
    {key = "synced_inputs", type = "integer_lists", min = 0, optional = true,
      description = "Groups of features, counted from 0, that are active together."},
  })
end

local function choice(key, choices, options, description)
  local field = {key = key, type = "choice", choices = choices, description = description}
  for name, value in pairs(options) do field[name] = value end
  return field
end

--- schema.tms_target: the config of a TMS target's training.
schema.tms_target = toy_target("tms_model_config", {
  size("n_features", "Number of inputs and outputs."),
  size("n_hidden", "Width of the hidden layers."),
  size("n_hidden_layers", "Matrices between encoder and decoder.", {required = true, min = 0, max = 1000}),
  {key = "tied_weights", type = "boolean", required = true,
    description = "The decoder is the transpose of the encoder."},
  {key = "init_bias_to_zero", type = "boolean", required = true,
    description = "The bias starts at 0 instead of small random numbers."},
  text("device", {default = "cpu"}, "Has no effect: everything runs on the processor."),
}, {
  choice("lr_schedule", {"linear", "cosine", "constant"}, {default = "linear"},
    "How the learning rate falls; cosine is a quarter period."),
  choice("data_generation_type", DATA_TYPES, {required = true}, data_generation_type.description),
  flag("fixed_identity_hidden_layers", false, "Hidden matrices are the identity and are not trained."),
  flag("fixed_random_hidden_layers", false, "Hidden matrices are random and are not trained."),
})

--- schema.residual_mlp_target: the config of a residual MLP's training.
schema.residual_mlp_target = toy_target("resid_mlp_config", {
  size("n_features", "Number of inputs and outputs."),
  size("d_embed", "Width of the residual stream."),
  size("d_mlp", "Neurons of each layer."),
  size("n_layers", "Number of layers.", {required = true, max = 1000}),
  choice("act_fn_name", {"relu", "gelu"}, {required = true}, "Activation function, also in the labels."),
  {key = "in_bias", type = "boolean", required = true, description = "The neurons have biases."},
  {key = "out_bias", type = "boolean", required = true, description = "The layers' outputs have biases."},
}, {
  lr_schedule,
  lr_exponential_halflife,
  data_generation_type,
  size("print_freq", "Steps between printed losses."),
  choice("label_type", {"act_plus_resid", "abs"}, {default = "act_plus_resid"},
    "What is learned of a feature x with coefficient c: act(c x) + x, or |c x|."),
  flag("use_trivial_label_coeffs", false, "All label coefficients are 1 instead of random in [1, 2)."),
  {key = "label_fn_seed", type = "integer", min = 0, max = (1 << 53) - 1, default = 0,
    description = "Seed of the random label coefficients."},
  choice("loss_type", {"readoff", "resid"}, {default = "readoff"},
    "Where output and labels are compared: after the unembedding, or in the residual stream."),
  {key = "importance_val", type = "number", above = 0, optional = true,
    description = "Feature i, counted from 0, weighs this to the power i in the loss; null: all weigh 1."},
  flag("fixed_random_embedding", false, "Embeddings are random unit vectors and are not trained."),
  flag("fixed_identity_embedding", false, "The embedding is the identity and is not trained."),
  size("n_batches_final_losses", "Batches over which the final loss is averaged.", {default = 1}),
})

--- schema.lm_target: the config of a small language model's training.
schema.lm_target = {
  {key = "lm_model_config", type = "group", required = true, description = "The model.", fields = {
    choice("architecture", {"llama", "gpt2"}, {required = true}, "LlamaForCausalLM or GPT2LMHeadModel."),
    size("hidden_size", "Width of the residual stream."),
    size("n_layers", "Number of layers.", {required = true, max = 1000}),
    size("n_heads", "Attention heads of a layer."),
    size("n_key_value_heads", "Heads of keys and values, for a llama; null: as many.", {optional = true}),
    size("intermediate_size", "Neurons of a layer's MLP."),
    size("max_seq_len", "Tokens in a sample, and the longest text that the model takes.", {required = true, min = 2}),
    flag("tie_word_embeddings", false, "The unembedding is the embedding."),
    {key = "initializer_range", type = "number", above = 0, max = 1, default = 0.02,
      description = "Standard deviation of the initial weights."},
  }},
  {key = "stories_config", type = "group", required = true, description = "The text.", fields = {
    size("n_train", "Stories to train on.", {required = true, max = 200000}),
    size("n_test", "Other stories to test on.", {required = true, max = 200000}),
  }},
  size("batch_size", "Samples in a batch."),
  size("steps", "Number of optimization steps.", {required = true, max = LARGEST_STEP}),
  seed,
  {key = "lr", type = "number", above = 0, required = true, description = "Learning rate."},
  lr_schedule,
  lr_exponential_halflife,
  {key = "lr_warmup_pct", type = "number", min = 0, max = 1, default = 0.0,
    description = "Fraction of the steps in which the learning rate rises to its value."},
  {key = "weight_decay", type = "number", min = 0, max = 1000, default = 0.1,
    description = "Weight decay of matrices; norms and biases have none."},
  size("print_freq", "Steps between printed losses."),
}

--- schema.target_keys: task_name -> the key that only configs of its targets have.
schema.target_keys = {tms = "tms_model_config", residual_mlp = "resid_mlp_config", lm = "lm_model_config"}

--- schema.training_scripts, schema.decomposition_scripts: task_name -> its script in experiments/.
schema.training_scripts = {tms = "train_tms.lua", residual_mlp = "train_resid_mlp.lua", lm = "train_lm.lua"}
schema.decomposition_scripts = {
  tms = "tms_decomposition.lua", residual_mlp = "resid_mlp_decomposition.lua", lm = "lm_decomposition.lua",
}

--- schema.model_classes: pretrained_model_class, as the public code names it -> its task_name.
schema.model_classes = {
  ["spd.experiments.tms.models.TMSModel"] = "tms",
  ["spd.experiments.resid_mlp.models.ResidualMLP"] = "residual_mlp",
  ["transformers.LlamaForCausalLM"] = "lm",
  ["transformers.GPT2LMHeadModel"] = "lm",
  ["transformers.GPTNeoForCausalLM"] = "lm",
  ["transformers.AutoModelForCausalLM"] = "lm",
}

--- schema.losses: the keys of which at least one must be a number.
schema.losses = {}
for _, field in ipairs(losses) do
  if field.key:find("_coeff$") then table.insert(schema.losses, field.key) end
end

return schema
