// Counts the guest's instructions: a plugin of QEMU's user-mode emulator (plugin API 1, QEMU 7.2 and later).
//
//   gcc -O2 -shared -fPIC insncount.c -o libinsncount.so
//   INSN_OUT=FILE qemu-aarch64 -d plugin -plugin ./libinsncount.so[,atomic=on] PROGRAM…
//
// What is counted are instructions, not cycles: no cache misses, no stalls. atomic=on is for programs with threads that
// work at the same time; it takes four times as long. Needs no header of QEMU's.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISIBLE __attribute__((visibility("default")))

struct block;
typedef uint64_t plugin_id;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
extern size_t qemu_plugin_tb_n_insns(const struct block *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int operation, void *, uint64_t);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern void qemu_plugin_outs(const char *);

VISIBLE int qemu_plugin_version = 1;

static uint64_t executed;
static int is_atomic;

static void on_execution(unsigned cpu, void *count) {
    (void)cpu;
    __atomic_fetch_add(&executed, (uint64_t)(uintptr_t)count, __ATOMIC_RELAXED);
}

static void on_translation(plugin_id id, struct block *block) {
    (void)id;
    uint64_t count = qemu_plugin_tb_n_insns(block);
    if (is_atomic)
        qemu_plugin_register_vcpu_tb_exec_cb(block, on_execution, 0, (void *)(uintptr_t)count);
    else
        qemu_plugin_register_vcpu_tb_exec_inline(block, 0 /* add */, &executed, count);
}

static void on_exit_of_guest(plugin_id id, void *unused) {
    (void)id, (void)unused;
    char line[64];
    snprintf(line, sizeof line, "%llu\n", (unsigned long long)executed);
    const char *path = getenv("INSN_OUT");
    FILE *out = path ? fopen(path, "w") : NULL;
    if (out) {
        fputs(line, out);
        fclose(out);
    } else {
        qemu_plugin_outs(line);
    }
}

VISIBLE int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    (void)info;
    for (int i = 0; i < count; i++)
        if (!strcmp(arguments[i], "atomic=on")) is_atomic = 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
    return 0;
}
