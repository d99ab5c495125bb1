/* Functions of the driver that succeed without doing anything, whatever their arguments: without cuda.h, whose
   prototypes these do not match. */
#include "null_cuda.h"

#define DOES_NOTHING(name) \
    EXPORT int name() { return 0; }
DOES_NOTHING(cuTensorMapEncodeTiled)
DOES_NOTHING(cuMemcpyDtoH_v2)
DOES_NOTHING(cuMemcpyHtoD_v2)
DOES_NOTHING(cuMemsetD32Async)
DOES_NOTHING(cuMemsetD8Async)
DOES_NOTHING(cuLinkCreate_v2)
DOES_NOTHING(cuLinkAddData_v2)
DOES_NOTHING(cuLinkComplete)
