/*
** Tensors: dense, row-major, counted by their owners. A write bumps the version, by which a tape sees that
** values it recorded are stale.
*/
#include "tensor.h"

#include <stdio.h>
#include <string.h>

#include "context.h"

const char *spd_format_shape(char *text, size_t size, int dimensions, const int64_t *shape) {
  size_t used = (size_t)snprintf(text, size, "[");
  for (int i = 0; i < dimensions && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, i == 0 ? "%lld" : ", %lld", (long long)shape[i]);
  if (used < size) snprintf(text + used, size - used, "]");
  return text;
}

bool spd_count_elements(spd_context *context, int dimensions, const int64_t *shape, int64_t *count) {
  char text[128];
  if (dimensions < 0 || dimensions > SPD_MAX_DIMENSIONS)
    return spd_fail(context, "expected at most %d dimensions, found %d", SPD_MAX_DIMENSIONS, dimensions);
  *count = 1;
  bool empty = false;
  for (int i = 0; i < dimensions; i++) {
    if (shape[i] < 0)
      return spd_fail(context, "shape %s: a size is negative", spd_format_shape(text, sizeof text, dimensions, shape));
    if (shape[i] == 0)
      empty = true;
    else if (__builtin_mul_overflow(*count, shape[i], count) || *count > INT64_MAX / 16)
      return spd_fail(context, "shape %s: too large for memory",
                      spd_format_shape(text, sizeof text, dimensions, shape));
  }
  if (empty) *count = 0;
  return true;
}

int64_t spd_rows_of_shape(int dimensions, const int64_t *shape) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < dimensions; i++) rows *= shape[i];
  return rows;
}

int64_t spd_columns_of_shape(int dimensions, const int64_t *shape) {
  return dimensions == 0 ? 1 : shape[dimensions - 1];
}

static size_t element_size(spd_dtype dtype) { return dtype == SPD_REAL ? sizeof(spd_real) : sizeof(int32_t); }

spd_tensor *spd_tensor_new(spd_context *context, spd_dtype dtype, int dimensions, const int64_t *shape) {
  int64_t count;
  if (!spd_count_elements(context, dimensions, shape, &count)) return NULL;
  spd_tensor *tensor = spd_allocate(context, sizeof *tensor);
  if (tensor == NULL) return NULL;
  *tensor = (spd_tensor){.context = context,
                         .owners = 1,
                         .dtype = dtype,
                         .dimensions = dimensions,
                         .bytes = (size_t)count * element_size(dtype)};
  for (int i = 0; i < dimensions; i++) tensor->shape[i] = shape[i];
  tensor->data = spd_allocate(context, tensor->bytes);
  if (tensor->data == NULL) {
    spd_deallocate(context, tensor, sizeof *tensor);
    return NULL;
  }
  spd_context_retain(context);
  return tensor;
}

spd_tensor *spd_tensor_retain(spd_tensor *tensor) {
  tensor->owners++;
  return tensor;
}

void spd_tensor_release(spd_tensor *tensor) {
  if (tensor == NULL || --tensor->owners > 0) return;
  spd_tensor_release(tensor->gradient);
  spd_context *context = tensor->context;
  spd_deallocate(context, tensor->data, tensor->bytes);
  spd_deallocate(context, tensor, sizeof *tensor);
  spd_context_release(context);
}

spd_dtype spd_tensor_dtype(const spd_tensor *tensor) { return tensor->dtype; }
int spd_tensor_dimensions(const spd_tensor *tensor) { return tensor->dimensions; }
const int64_t *spd_tensor_shape(const spd_tensor *tensor) { return tensor->shape; }
int64_t spd_tensor_count(const spd_tensor *tensor) { return (int64_t)(tensor->bytes / element_size(tensor->dtype)); }

const spd_real *spd_tensor_real(const spd_tensor *tensor) { return tensor->dtype == SPD_REAL ? tensor->data : NULL; }

const int32_t *spd_tensor_int32(const spd_tensor *tensor) { return tensor->dtype == SPD_INT32 ? tensor->data : NULL; }

spd_real *spd_tensor_write_real(spd_tensor *tensor) {
  if (tensor->dtype != SPD_REAL) return NULL;
  tensor->version++;
  return tensor->data;
}

int32_t *spd_tensor_write_int32(spd_tensor *tensor) {
  if (tensor->dtype != SPD_INT32) return NULL;
  tensor->version++;
  return tensor->data;
}

bool spd_tensor_make_parameter(spd_tensor *tensor) {
  if (tensor->gradient != NULL) return true;
  if (tensor->dtype != SPD_REAL) return spd_fail(tensor->context, "a parameter must hold real numbers");
  tensor->gradient = spd_tensor_new(tensor->context, SPD_REAL, tensor->dimensions, tensor->shape);
  return tensor->gradient != NULL;
}

spd_tensor *spd_tensor_gradient(const spd_tensor *tensor) { return tensor->gradient; }
