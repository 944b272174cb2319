/* An external delegate, as small as can be. Its options say what it does:
 *   take=N        takes the ops of that builtin code (ADD is 0); without it, it takes none
 *   fail=create   cannot be made; fail=prepare refuses every model
 * What it runs, it answers with sevens, so that one can see who ran it.
 * The structures are those of TensorFlow Lite's core/c/common.h, as far as they are used here. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int size; int data[]; } Ints;
typedef struct {
  int type;
  void *data;
  Ints *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  _Bool data_is_stale, is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  const Ints *dims_signature;
} Tensor;
typedef struct { Ints *inputs, *outputs; } Node;
typedef struct Context Context;
typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external, *async_kernel;
  uint64_t inplace_operator;
} Registration;
typedef struct Delegate {
  void *data;
  int (*Prepare)(Context *, struct Delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *opaque;
} Delegate;
struct Context {
  size_t tensors_size;
  int (*GetExecutionPlan)(Context *, Ints **);
  Tensor *tensors;
  void *impl;
  void *ResizeTensor, *ReportError, *AddTensors;
  int (*GetNodeAndRegistration)(Context *, int, Node **, Registration **);
  int (*ReplaceNodeSubsetsWithDelegateKernels)(Context *, Registration, const Ints *, Delegate *);
};

static int sevens(Context *context, Node *node) {
  for (int i = 0; i < node->outputs->size; i++) {
    Tensor *tensor = &context->tensors[node->outputs->data[i]];
    memset(tensor->data, 7, tensor->bytes);
  }
  return 0;
}

static int take(Context *context, Delegate *delegate) {
  int wanted = (int)(intptr_t)delegate->data;
  if (wanted == -2) return 1;
  Ints *plan;
  if (context->GetExecutionPlan(context, &plan)) return 1;
  Ints *taken = malloc(sizeof(Ints) + plan->size * sizeof(int));
  taken->size = 0;
  for (int i = 0; i < plan->size; i++) {
    Node *node;
    Registration *registration;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration)) return 1;
    if (registration->builtin_code == wanted) taken->data[taken->size++] = plan->data[i];
  }
  Registration own = {.invoke = sevens, .custom_name = "Sevens", .version = 1};
  int status = taken->size ? context->ReplaceNodeSubsetsWithDelegateKernels(context, own, taken, delegate) : 0;
  free(taken);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  int wanted = -1;
  for (size_t i = 0; i < count; i++) {
    if (!strcmp(keys[i], "take")) wanted = atoi(values[i]);
    if (!strcmp(keys[i], "fail") && !strcmp(values[i], "prepare")) wanted = -2;
    if (!strcmp(keys[i], "fail") && !strcmp(values[i], "create")) {
      report("no such device");
      return NULL;
    }
  }
  Delegate *made = calloc(1, sizeof(Delegate));
  made->data = (void *)(intptr_t)wanted;
  made->Prepare = take;
  return made;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
