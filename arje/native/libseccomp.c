/*
 * libseccomp (seccomp_init(3) and its kin), loaded when it is first needed: it is on nearly every machine, its headers
 * are not, and arje works without either. Only the manager calls this, never the child.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "functions.h"

enum { ACTION_FOR_FOREIGN = 2, OPTIMIZE = 8, AS_BINARY_TREE = 2 }; /* enum scmp_filter_attr and its values */

static struct {
    void *(*init)(uint32_t action);
    void (*release)(void *filter);
    int (*attr_set)(void *filter, int attribute, uint32_t value);
    int (*arch_add)(void *filter, uint32_t architecture);
    uint32_t (*arch_native)(void);
    uint32_t (*arch_resolve_name)(const char *name);
    int (*rule_add_array)(void *filter, uint32_t action, int number, unsigned int count, const void *arguments);
    int (*export_bpf)(void *filter, int fd);
    int (*resolve_name)(const char *name);
    char *(*resolve_num_arch)(uint32_t architecture, int number);
} lib;

static int load(void) {
    static const struct {
        const char *name;
        size_t offset;
    } wanted[] = {
        {"seccomp_init", offsetof(__typeof__(lib), init)},
        {"seccomp_release", offsetof(__typeof__(lib), release)},
        {"seccomp_attr_set", offsetof(__typeof__(lib), attr_set)},
        {"seccomp_arch_add", offsetof(__typeof__(lib), arch_add)},
        {"seccomp_arch_native", offsetof(__typeof__(lib), arch_native)},
        {"seccomp_arch_resolve_name", offsetof(__typeof__(lib), arch_resolve_name)},
        {"seccomp_rule_add_array", offsetof(__typeof__(lib), rule_add_array)},
        {"seccomp_syscall_resolve_name", offsetof(__typeof__(lib), resolve_name)},
        {"seccomp_syscall_resolve_num_arch", offsetof(__typeof__(lib), resolve_num_arch)},
        {"seccomp_export_bpf", offsetof(__typeof__(lib), export_bpf)},
    };
    void *handle = dlopen("libseccomp.so.2", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return -ENOENT;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *symbol = dlsym(handle, wanted[i].name);
        if (symbol == NULL) {
            dlclose(handle);
            return -ENOENT;
        }
        memcpy((char *)&lib + wanted[i].offset, &symbol, sizeof symbol);
    }
    return 0;
}

int arje_libseccomp(void) {
    static int answer = 1; /* not asked yet */
    if (answer == 1)
        answer = load();
    return answer;
}

int arje_seccomp_number(const char *name) {
    return arje_libseccomp() == 0 ? lib.resolve_name(name) : -1;
}

int arje_seccomp_name(int number, char *name, int room) {
    char *found = arje_libseccomp() == 0 ? lib.resolve_num_arch(lib.arch_native(), number) : NULL;
    if (found == NULL)
        return -ENOENT;
    strncpy(name, found, (size_t)room - 1);
    name[room - 1] = '\0';
    free(found);
    return 0;
}

static int fill(void *filter, uint32_t action, uint32_t foreign, const char *const *architectures,
                const struct arje_seccomp_rule *rules, int count) {
    int answer = lib.attr_set(filter, ACTION_FOR_FOREIGN, foreign);
    lib.attr_set(filter, OPTIMIZE, AS_BINARY_TREE); /* since 2.5; without it the filter is only slower */
    for (; answer == 0 && *architectures != NULL; architectures++) {
        uint32_t token = lib.arch_resolve_name(*architectures);
        answer = token == 0 ? -EINVAL : lib.arch_add(filter, token);
        if (answer == -EEXIST)
            answer = 0;
    }
    for (int i = 0; answer == 0 && i < count; i++)
        if (rules[i].action != action) /* the library refuses a rule that says what is said already */
            answer = lib.rule_add_array(filter, rules[i].action, rules[i].number, 0, NULL);
    return answer;
}

int arje_seccomp_compile(uint32_t action, uint32_t foreign, const char *const *architectures,
                         const struct arje_seccomp_rule *rules, int count, int fd) {
    int answer = arje_libseccomp();
    if (answer != 0)
        return answer;
    void *filter = lib.init(action);
    if (filter == NULL)
        return -EINVAL;
    answer = fill(filter, action, foreign, architectures, rules, count);
    if (answer == 0)
        answer = lib.export_bpf(filter, fd);
    lib.release(filter);
    return answer;
}
