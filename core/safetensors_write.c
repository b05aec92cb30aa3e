/*
** Writing safetensors files, atomically: at any moment the path names the old file or the new one. The bytes
** depend only on names, tensors and metadata.
*/
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "context.h"

enum { ALIGNMENT = 8, SUFFIX_BYTES = 48, ATTEMPTS = 100 };

typedef struct {
  const char *name;
  const spd_tensor *tensor;
} item;

typedef struct {
  spd_context *context;
  const char *path;
  size_t count;
  item *items; /* in file order */
} output;

static size_t data_bytes(const spd_tensor *tensor) {
  const size_t size = spd_tensor_dtype(tensor) == SPD_REAL ? sizeof(spd_real) : sizeof(int32_t);
  return (size_t)spd_tensor_count(tensor) * size;
}

/* Reals before integers, as the reference writer orders dtypes; then by name. */
static int by_dtype_and_name(const void *left, const void *right) {
  const item *a = left, *b = right;
  const bool a_real = spd_tensor_dtype(a->tensor) == SPD_REAL, b_real = spd_tensor_dtype(b->tensor) == SPD_REAL;
  if (a_real != b_real) return a_real ? -1 : 1;
  return strcmp(a->name, b->name);
}

/* ---- the header ---------------------------------------------------------------------------- */

static json_t *describe_tensor(const spd_tensor *tensor, size_t begin) {
  json_t *shape = json_array();
  for (int i = 0; i < spd_tensor_dimensions(tensor); i++)
    json_array_append_new(shape, json_integer(spd_tensor_shape(tensor)[i]));
  const char *dtype = spd_tensor_dtype(tensor) == SPD_INT32 ? "I32" : sizeof(spd_real) == 4 ? "F32" : "F64";
  return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)begin,
                   (json_int_t)(begin + data_bytes(tensor)));
}

/* Set a new key of an object; takes ownership of value. */
static bool set_key(const output *out, json_t *object, const char *what, const char *key, json_t *value) {
  if (json_object_get(object, key) != NULL || strcmp(key, "__metadata__") == 0) {
    json_decref(value);
    return spd_fail(out->context, "%s: cannot write: %s '%s' is taken", out->path, what, key);
  }
  if (json_object_set_new(object, key, value) != 0)
    return spd_fail(out->context, "%s: cannot write: expected a %s and its value in UTF-8", out->path, what);
  return true;
}

static bool describe_metadata(const output *out, json_t *header, int count, const char *const *metadata) {
  if (count == 0) return true;
  json_t *pairs = json_object();
  if (json_object_set_new(header, "__metadata__", pairs) != 0)
    return spd_fail(out->context, "%s: cannot write: not enough memory", out->path);
  for (int i = 0; i < count; i++)
    if (!set_key(out, pairs, "metadata key", metadata[2 * i], json_string(metadata[2 * i + 1]))) return false;
  return true;
}

static bool describe_tensors(const output *out, json_t *header) {
  size_t begin = 0;
  for (size_t i = 0; i < out->count; i++) {
    const spd_tensor *tensor = out->items[i].tensor;
    if (!set_key(out, header, "tensor name", out->items[i].name, describe_tensor(tensor, begin))) return false;
    begin += data_bytes(tensor);
  }
  return true;
}

/* The header as text, which the caller frees; NULL with a message. */
static char *format_header(const output *out, int metadata_count, const char *const *metadata) {
  json_t *header = json_object();
  char *text = NULL;
  if (describe_metadata(out, header, metadata_count, metadata) && describe_tensors(out, header)) {
    text = json_dumps(header, JSON_COMPACT);
    if (text == NULL) spd_fail(out->context, "%s: cannot write: not enough memory", out->path);
  }
  json_decref(header);
  return text;
}

/* ---- the file ------------------------------------------------------------------------------ */

static bool write_bytes(int descriptor, const void *bytes, size_t count) {
  const char *at = bytes;
  while (count > 0) {
    const ssize_t written = write(descriptor, at, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    at += written;
    count -= (size_t)written;
  }
  return true;
}

static bool write_content(int descriptor, const output *out, const char *header) {
  static const char spaces[ALIGNMENT + 1] = "        ";
  const size_t length = strlen(header), padding = (ALIGNMENT - length % ALIGNMENT) % ALIGNMENT;
  const uint64_t padded = length + padding;
  if (!write_bytes(descriptor, &padded, sizeof padded) || !write_bytes(descriptor, header, length) ||
      !write_bytes(descriptor, spaces, padding))
    return false;
  for (size_t i = 0; i < out->count; i++) {
    const spd_tensor *tensor = out->items[i].tensor;
    const void *data = spd_tensor_dtype(tensor) == SPD_REAL ? (const void *)spd_tensor_real(tensor)
                                                            : (const void *)spd_tensor_int32(tensor);
    if (!write_bytes(descriptor, data, data_bytes(tensor))) return false;
  }
  return fsync(descriptor) == 0;
}

/* A new file beside the path; its name goes into temporary. A leftover of a killed process is passed by. */
static int create_temporary(const char *path, char *temporary, size_t size) {
  for (int i = 0; i < ATTEMPTS; i++) {
    snprintf(temporary, size, "%s.%ld-%d.tmp", path, (long)getpid(), i);
    const int descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

/* Make the rename last; a file system that cannot sync folders is taken at its word. temporary is scratch. */
static bool sync_folder(const char *path, char *temporary, size_t size) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL)
    snprintf(temporary, size, ".");
  else
    snprintf(temporary, size, "%.*s/", (int)(slash - path), path);
  const int descriptor = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno == EACCES; /* a folder that may be written but not read */
  const bool synced = fsync(descriptor) == 0 || errno == EINVAL;
  close(descriptor);
  return synced;
}

static bool replace_file(const output *out, const char *header, char *temporary, size_t size) {
  const int descriptor = create_temporary(out->path, temporary, size);
  if (descriptor < 0) return false;
  bool written = write_content(descriptor, out, header);
  int reason = errno;
  if (close(descriptor) != 0 && written) {
    written = false;
    reason = errno;
  }
  if (written && rename(temporary, out->path) != 0) {
    written = false;
    reason = errno;
  }
  if (written) return sync_folder(out->path, temporary, size);
  unlink(temporary);
  errno = reason;
  return false;
}

static bool write_file(const output *out, const char *header) {
  const size_t size = strlen(out->path) + SUFFIX_BYTES;
  char *temporary = spd_allocate(out->context, size);
  if (temporary == NULL) return false;
  const bool written = replace_file(out, header, temporary, size);
  if (!written) spd_fail(out->context, "%s: cannot write: %s", out->path, strerror(errno));
  spd_deallocate(out->context, temporary, size);
  return written;
}

bool spd_safetensors_write(spd_context *context, const char *path, int count, const char *const *names,
                           spd_tensor *const *tensors, int metadata_count, const char *const *metadata) {
  output out = {.context = context, .path = path, .count = (size_t)count};
  out.items = spd_allocate(context, out.count * sizeof *out.items);
  if (out.items == NULL) return false;
  for (size_t i = 0; i < out.count; i++) out.items[i] = (item){names[i], tensors[i]};
  if (out.count > 1) qsort(out.items, out.count, sizeof *out.items, by_dtype_and_name);
  char *header = format_header(&out, metadata_count, metadata);
  const bool written = header != NULL && write_file(&out, header);
  free(header);
  spd_deallocate(context, out.items, out.count * sizeof *out.items);
  return written;
}
