/* A driver's library on a host without its kernel module: enough to see that it was loaded. */
int nvmlInit_v2(void) { return 9; }
int nvmlInitWithFlags(unsigned flags) { return flags == 0 ? 9 : 9; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "driver not loaded" : "unknown"; }
