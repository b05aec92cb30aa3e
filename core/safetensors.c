/*
** Reading safetensors files: u64 N (little-endian), N bytes of JSON, then the data of all tensors.
**
** A file is checked in full when it is opened, so that nothing later can point outside of it: the data of the
** tensors must fill the rest of the file exactly, without holes or overlaps. It is mapped, not loaded; the parsed
** header stays alive because names and metadata are borrowed from it.
*/
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "context.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the data of a file is used in place");

enum {
  LENGTH_BYTES = 8,
  MAX_HEADER = 100000000,
  MAX_DEPTH = 3,
  MAX_COMMAS = 64,
  MAX_NAME = 4096,
  MESSAGE_LENGTH = 512
};

typedef enum { KIND_OTHER, KIND_REAL, KIND_INTEGER } kind;

typedef struct {
  const char *name;
  size_t bytes;
  kind kind;
} data_type;

typedef struct {
  const char *name; /* borrowed from the header, as all text here */
  const data_type *type;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  uint64_t begin, end; /* in the data, end excluded */
} entry;

typedef struct {
  const char *key, *value;
} pair;

struct spd_safetensors {
  spd_context *context;
  char *path;
  size_t path_bytes;
  void *map; /* the whole file */
  size_t map_bytes;
  const unsigned char *data;
  uint64_t data_bytes;
  json_t *header;
  size_t capacity; /* of the next two lists */
  entry *entries;
  int count;
  pair *metadata;
  size_t metadata_count;
};

static const data_type types[] = {{"F64", 8, KIND_REAL},     {"F32", 4, KIND_REAL},      {"F16", 2, KIND_REAL},
                                  {"BF16", 2, KIND_REAL},    {"I64", 8, KIND_INTEGER},   {"I32", 4, KIND_INTEGER},
                                  {"I16", 2, KIND_INTEGER},  {"I8", 1, KIND_INTEGER},    {"U64", 8, KIND_INTEGER},
                                  {"U32", 4, KIND_INTEGER},  {"U16", 2, KIND_INTEGER},   {"U8", 1, KIND_INTEGER},
                                  {"BOOL", 1, KIND_INTEGER}, {"F8_E5M2", 1, KIND_OTHER}, {"F8_E4M3", 1, KIND_OTHER}};

static const data_type *find_type(const char *name) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, name) == 0) return &types[i];
  return NULL;
}

/* "PATH: message"; text that came from the file cannot break the line. */
static bool fail(const spd_safetensors *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(const spd_safetensors *file, const char *format, ...) {
  char message[MESSAGE_LENGTH];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  for (char *c = message; *c != '\0'; c++)
    if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
  return spd_fail(file->context, "%s: %s", file->path, message);
}

/* ---- the header ---------------------------------------------------------------------------- */

static const char *json_kind(const json_t *value) {
  switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_NULL: return "null";
    default: return "a boolean";
  }
}

static bool read_type(const spd_safetensors *file, const json_t *info, entry *tensor) {
  const char *name = json_string_value(json_object_get(info, "dtype"));
  if (name == NULL) return fail(file, "tensor '%s': expected a string as \"dtype\"", tensor->name);
  tensor->type = find_type(name);
  if (tensor->type == NULL)
    return fail(file, "tensor '%s': expected a known dtype such as F32, found '%s'", tensor->name, name);
  return true;
}

/* The shape; *bytes receives the size of the data that belongs to it. */
static bool read_shape(const spd_safetensors *file, const json_t *info, entry *tensor, uint64_t *bytes) {
  const json_t *shape = json_object_get(info, "shape");
  if (!json_is_array(shape)) return fail(file, "tensor '%s': expected a list as \"shape\"", tensor->name);
  const size_t dimensions = json_array_size(shape);
  if (dimensions > SPD_MAX_DIMENSIONS)
    return fail(file, "tensor '%s': expected at most %d dimensions, found %zu", tensor->name, SPD_MAX_DIMENSIONS,
                dimensions);
  tensor->dimensions = (int)dimensions;
  *bytes = tensor->type->bytes;
  bool empty = false;
  for (size_t i = 0; i < dimensions; i++) {
    const json_t *size = json_array_get(shape, i);
    if (!json_is_integer(size) || json_integer_value(size) < 0)
      return fail(file, "tensor '%s': expected sizes of 0 or more in \"shape\"", tensor->name);
    tensor->shape[i] = json_integer_value(size);
    if (tensor->shape[i] == 0)
      empty = true;
    else if (__builtin_mul_overflow(*bytes, (uint64_t)tensor->shape[i], bytes))
      return fail(file, "tensor '%s': its shape is too large for any memory", tensor->name);
  }
  if (empty) *bytes = 0;
  return true;
}

static bool read_offsets(const spd_safetensors *file, const json_t *info, entry *tensor, uint64_t bytes) {
  const json_t *offsets = json_object_get(info, "data_offsets");
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
      json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
    return fail(file, "tensor '%s': expected [begin, end] as \"data_offsets\"", tensor->name);
  tensor->begin = (uint64_t)json_integer_value(begin);
  tensor->end = (uint64_t)json_integer_value(end);
  if (tensor->end > file->data_bytes)
    return fail(file, "tensor '%s': its data ends at byte %llu, but the file holds %llu bytes of data (truncated?)",
                tensor->name, (unsigned long long)tensor->end, (unsigned long long)file->data_bytes);
  if (tensor->end - tensor->begin != bytes)
    return fail(file, "tensor '%s': expected %llu bytes of data from its shape and dtype, found %llu", tensor->name,
                (unsigned long long)bytes, (unsigned long long)(tensor->end - tensor->begin));
  return true;
}

static bool read_entry(spd_safetensors *file, const char *name, const json_t *info) {
  entry *tensor = &file->entries[file->count];
  uint64_t bytes = 0;
  tensor->name = name;
  if (strlen(name) > MAX_NAME) return fail(file, "expected tensor names of at most %d bytes", MAX_NAME);
  if (!json_is_object(info))
    return fail(file, "tensor '%s': expected an object in the header, found %s", name, json_kind(info));
  if (!read_type(file, info, tensor) || !read_shape(file, info, tensor, &bytes) ||
      !read_offsets(file, info, tensor, bytes))
    return false;
  file->count++;
  return true;
}

static bool read_metadata(spd_safetensors *file, json_t *metadata) {
  if (!json_is_object(metadata))
    return fail(file, "expected an object as \"__metadata__\", found %s", json_kind(metadata));
  const size_t count = json_object_size(metadata);
  file->metadata = spd_allocate(file->context, count * sizeof *file->metadata);
  if (file->metadata == NULL) return fail(file, "not enough memory for its metadata");
  const char *key;
  json_t *value;
  file->metadata_count = count;
  size_t i = 0;
  json_object_foreach(metadata, key, value) {
    if (!json_is_string(value)) return fail(file, "metadata '%s': expected a string, found %s", key, json_kind(value));
    file->metadata[i++] = (pair){key, json_string_value(value)};
  }
  return true;
}

static int by_offsets(const void *left, const void *right) {
  const entry *a = *(entry *const *)left, *b = *(entry *const *)right;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  return (a->end > b->end) - (a->end < b->end);
}

/* The data of all tensors, one after another, must be the whole data of the file. */
static bool check_tiling(const spd_safetensors *file, entry **sorted) {
  for (int i = 0; i < file->count; i++) sorted[i] = &file->entries[i];
  qsort(sorted, (size_t)file->count, sizeof *sorted, by_offsets);
  uint64_t end = 0;
  for (int i = 0; i < file->count; i++) {
    if (sorted[i]->begin != end)
      return fail(file, "tensor '%s': expected its data to begin at byte %llu, found %llu (%s)", sorted[i]->name,
                  (unsigned long long)end, (unsigned long long)sorted[i]->begin,
                  sorted[i]->begin < end ? "it overlaps another tensor" : "there is a hole before it");
    end = sorted[i]->end;
  }
  if (end != file->data_bytes)
    return fail(file, "expected %llu bytes of data for its tensors, found %llu", (unsigned long long)end,
                (unsigned long long)file->data_bytes);
  return true;
}

static bool read_tensors(spd_safetensors *file) {
  const char *name;
  json_t *info;
  file->capacity = json_object_size(file->header);
  file->entries = spd_allocate(file->context, file->capacity * sizeof *file->entries);
  if (file->entries == NULL) return fail(file, "not enough memory for its header");
  json_object_foreach(file->header, name, info) {
    const bool read = strcmp(name, "__metadata__") == 0 ? read_metadata(file, info) : read_entry(file, name, info);
    if (!read) return false;
  }
  const size_t bytes = (size_t)file->count * sizeof(entry *);
  entry **sorted = spd_allocate(file->context, bytes);
  if (sorted == NULL) return fail(file, "not enough memory for its header");
  const bool tiled = check_tiling(file, sorted);
  spd_deallocate(file->context, sorted, bytes);
  return tiled;
}

/* Whether the text has the shape of a header: objects in an object, with short lists. The tree of a hostile one, all
** brackets, would take fifty times its memory. */
static bool check_nesting(spd_safetensors *file, const char *text, size_t length) {
  int depth = 0, commas = 0;
  bool in_string = false;
  for (size_t i = 0; i < length; i++) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        i++;
      else
        in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > MAX_DEPTH) return fail(file, "its header is not valid: nested too deeply");
      commas = 0;
    } else if (c == '}' || c == ']') {
      depth--;
      commas = 0;
    } else if (c == ',' && depth == MAX_DEPTH && ++commas > MAX_COMMAS) {
      return fail(file, "its header is not valid: a list that is too long");
    }
  }
  return true;
}

static bool read_header(spd_safetensors *file) {
  uint64_t length;
  memcpy(&length, file->map, sizeof length);
  const uint64_t rest = file->map_bytes - LENGTH_BYTES;
  if (length < 1 || length > MAX_HEADER)
    return fail(file, "not a safetensors file (its first 8 bytes are no header length from 1 to %d)", MAX_HEADER);
  if (length > rest)
    return fail(file, "its header should have %llu bytes, but only %llu follow (truncated, or not a safetensors file)",
                (unsigned long long)length, (unsigned long long)rest);
  const char *text = (const char *)file->map + LENGTH_BYTES;
  if (text[0] != '{') return fail(file, "expected a header that starts with '{' (is it a safetensors file?)");
  file->data = (const unsigned char *)text + length;
  file->data_bytes = rest - length;
  if (!check_nesting(file, text, (size_t)length)) return false;
  json_error_t error;
  file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  if (file->header == NULL) return fail(file, "its header is not valid: %s", error.text);
  return read_tensors(file);
}

/* ---- opening ------------------------------------------------------------------------------- */

static bool map_file(spd_safetensors *file, int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) return fail(file, "cannot read: %s", strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail(file, "expected a safetensors file, found something that is not a file");
  if (status.st_size < LENGTH_BYTES)
    return fail(file, "expected a safetensors file, found only %lld bytes", (long long)status.st_size);
  void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (map == MAP_FAILED) return fail(file, "cannot read: %s", strerror(errno));
  file->map = map;
  file->map_bytes = (size_t)status.st_size;
  return true;
}

static bool open_file(spd_safetensors *file) {
  const int descriptor = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return fail(file, "cannot open: %s", strerror(errno));
  const bool mapped = map_file(file, descriptor);
  close(descriptor);
  return mapped && read_header(file);
}

spd_safetensors *spd_safetensors_open(spd_context *context, const char *path) {
  spd_safetensors *file = spd_allocate(context, sizeof *file);
  if (file == NULL) return NULL;
  file->context = spd_context_retain(context);
  file->path_bytes = strlen(path) + 1;
  file->path = spd_allocate(context, file->path_bytes);
  if (file->path != NULL) {
    memcpy(file->path, path, file->path_bytes);
    if (open_file(file)) return file;
  }
  spd_safetensors_close(file);
  return NULL;
}

void spd_safetensors_close(spd_safetensors *file) {
  if (file == NULL) return;
  spd_deallocate(file->context, file->metadata, file->metadata_count * sizeof *file->metadata);
  spd_deallocate(file->context, file->entries, file->capacity * sizeof *file->entries);
  json_decref(file->header);
  if (file->map != NULL) munmap(file->map, file->map_bytes);
  spd_context *context = file->context;
  spd_deallocate(context, file->path, file->path_bytes);
  spd_deallocate(context, file, sizeof *file);
  spd_context_release(context);
}

/* ---- what is in a file --------------------------------------------------------------------- */

int spd_safetensors_count(const spd_safetensors *file) { return file->count; }
const char *spd_safetensors_name(const spd_safetensors *file, int i) { return file->entries[i].name; }
const char *spd_safetensors_dtype(const spd_safetensors *file, int i) { return file->entries[i].type->name; }

int spd_safetensors_find(const spd_safetensors *file, const char *name) {
  for (int i = 0; i < file->count; i++)
    if (strcmp(file->entries[i].name, name) == 0) return i;
  return -1;
}

const int64_t *spd_safetensors_shape(const spd_safetensors *file, int i, int *dimensions) {
  *dimensions = file->entries[i].dimensions;
  return file->entries[i].shape;
}

const char *spd_safetensors_metadata(const spd_safetensors *file, int i, const char **value) {
  if (i < 0 || (size_t)i >= file->metadata_count) return NULL;
  *value = file->metadata[i].value;
  return file->metadata[i].key;
}

/* ---- values -------------------------------------------------------------------------------- */

static float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float float_from_half(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 1023u;
  if (exponent == 31) return float_from_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = (float)fraction * 0x1p-24f; /* subnormal, or zero */
  return sign != 0 ? -magnitude : magnitude;
}

static void read_reals(const entry *tensor, const unsigned char *from, spd_real *to, int64_t count) {
  const size_t bytes = tensor->type->bytes;
  if (count == 0) return;
  if (strcmp(tensor->type->name, sizeof(spd_real) == 4 ? "F32" : "F64") == 0) {
    memcpy(to, from, (size_t)count * sizeof *to);
    return;
  }
  for (int64_t i = 0; i < count; i++, from += bytes) {
    uint16_t half;
    float single;
    double wide;
    if (bytes == 8) {
      memcpy(&wide, from, sizeof wide);
      to[i] = (spd_real)wide;
    } else if (bytes == 4) {
      memcpy(&single, from, sizeof single);
      to[i] = single;
    } else {
      memcpy(&half, from, sizeof half);
      to[i] = tensor->type->name[0] == 'B' ? float_from_bits((uint32_t)half << 16) : float_from_half(half);
    }
  }
}

/* An integer of the dtype; what exceeds int64 comes out as its largest value. */
static int64_t read_integer(const data_type *type, const unsigned char *from) {
  uint64_t bits = 0;
  memcpy(&bits, from, type->bytes);
  if (type->name[0] != 'I') return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
  const int unused = 64 - 8 * (int)type->bytes;
  return (int64_t)(bits << unused) >> unused;
}

static bool read_integers(const spd_safetensors *file, const entry *tensor, int32_t *to, int64_t count) {
  const unsigned char *from = file->data + tensor->begin;
  for (int64_t i = 0; i < count; i++, from += tensor->type->bytes) {
    const int64_t value = read_integer(tensor->type, from);
    if (value < INT32_MIN || value > INT32_MAX)
      return fail(file, "tensor '%s': expected integers of 32 bits, found %lld", tensor->name, (long long)value);
    to[i] = (int32_t)value;
  }
  return true;
}

spd_tensor *spd_safetensors_read(const spd_safetensors *file, int i) {
  const entry *tensor = &file->entries[i];
  if (tensor->type->kind == KIND_OTHER) {
    fail(file, "tensor '%s': values of dtype %s cannot be read (expected F64, F32, F16, BF16 or integers)",
         tensor->name, tensor->type->name);
    return NULL;
  }
  const bool real = tensor->type->kind == KIND_REAL;
  spd_tensor *result = spd_tensor_new(file->context, real ? SPD_REAL : SPD_INT32, tensor->dimensions, tensor->shape);
  if (result == NULL) {
    fail(file, "tensor '%s': %s", tensor->name, spd_error(file->context));
    return NULL;
  }
  const int64_t count = spd_tensor_count(result);
  if (real) {
    read_reals(tensor, file->data + tensor->begin, spd_tensor_write_real(result), count);
  } else if (!read_integers(file, tensor, spd_tensor_write_int32(result), count)) {
    spd_tensor_release(result);
    return NULL;
  }
  return result;
}
