// A running count of each key, in C straight on the world `process` of wit/typed.wit, with no SDK.
//
// The bindings (process.h) are generated from the WIT at build. Ownership follows the canonical ABI:
// what the host passes in is ours to free, what we return is freed for us after the call.

#include <stdlib.h>
#include <string.h>

#include "process.h"

typedef wasmill_function_types_error_t error_t;

static const char DESCRIPTION[] =
    "{\"version\":1,\"functions\":[{\"name\":\"count\",\"kind\":\"process\",\"input\":\"raw\",\"output\":\"raw\","
    "\"state\":[{\"name\":\"count\",\"kind\":\"value\",\"encoding\":\"u64-le\"}]}]}";

static uint32_t count_slot;

void exports_wasmill_function_lifecycle_describe(process_string_t *ret) { process_string_dup(ret, DESCRIPTION); }

bool exports_wasmill_function_lifecycle_open(process_string_t *function, process_string_t *config, error_t *err) {
  process_string_free(function);
  process_string_free(config);
  process_string_t name;
  process_string_set(&name, "count");
  count_slot = wasmill_function_keyed_state_open_value(&name);
  return true;
}

bool exports_wasmill_function_lifecycle_close(error_t *err) { return true; }

// Reads the count of the current key: 0 where it has none; false where its bytes are not a count.
static bool read_count(uint64_t *count) {
  process_list_u8_t bytes;
  *count = 0;
  if (!wasmill_function_keyed_state_value_get(count_slot, &bytes)) return true;
  bool valid = bytes.len == sizeof *count;
  if (valid) memcpy(count, bytes.ptr, sizeof *count);  // WebAssembly is little-endian, as is the encoding.
  process_list_u8_free(&bytes);
  return valid;
}

// Emits `key:count`.
static void emit(const process_list_u8_t *key, uint64_t count) {
  enum { DIGITS_MAX = 20 };
  uint8_t digits[DIGITS_MAX];
  size_t first = DIGITS_MAX;
  do {
    digits[--first] = '0' + count % 10;
    count /= 10;
  } while (count > 0);
  size_t length = key->len + 1 + DIGITS_MAX - first;
  uint8_t *text = malloc(length);
  if (text == NULL) abort();
  if (key->len > 0) memcpy(text, key->ptr, key->len);
  text[key->len] = ':';
  memcpy(text + key->len + 1, digits + first, DIGITS_MAX - first);
  wasmill_function_collector_emit(&(process_list_u8_t){text, length});
  free(text);
}

static bool process(const wasmill_function_types_element_t *element, error_t *err) {
  if (element->value.len == 0) {
    err->tag = WASMILL_FUNCTION_TYPES_ERROR_BAD_RECORD;
    process_string_dup(&err->val.bad_record, "the value is empty");
    return false;
  }
  uint64_t count;
  if (!read_count(&count)) {
    err->tag = WASMILL_FUNCTION_TYPES_ERROR_FAILED;
    process_string_dup(&err->val.failed, "the state \"count\" does not hold 8 bytes");
    return false;
  }
  count += 1;
  wasmill_function_keyed_state_value_set(count_slot, &(process_list_u8_t){(uint8_t *)&count, sizeof count});
  emit(&element->key, count);
  return true;
}

bool exports_wasmill_function_process_function_process_element(wasmill_function_types_element_t *element, error_t *err) {
  bool ok = process(element, err);
  wasmill_function_types_element_free(element);
  return ok;
}

bool exports_wasmill_function_process_function_on_timer(int64_t at, bool processing_time, error_t *err) { return true; }
