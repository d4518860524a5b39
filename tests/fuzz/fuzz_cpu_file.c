/* SPDX-License-Identifier: Apache-2.0 */
/* A list of features of any bytes: what is taken of it is printed, and that is
 * the same list. */
#include "kvm-agent/vm/cpuid.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cpu_baseline list, again;
	char *text = NULL, *same = NULL;

	if (cpu_baseline_parse((const char *)data, size, &list, NULL) < 0)
		return 0;
	must(memchr(list.vendor, 0, sizeof(list.vendor)) != NULL);
	for (unsigned i = 0; i < CPUID_WORDS; i++)
		must(!(list.words[i] & cpuid_words[i].ours));
	/* Without one a signature of its own is taken, none is printed. */
	if (!list.signature)
		list.signature = 1;
	must(cpu_baseline_print(&list, &text, NULL) == 0);
	must(cpu_baseline_parse(text, strlen(text), &again, NULL) == 0);
	must(cpu_baseline_print(&again, &same, NULL) == 0);
	must(!strcmp(text, same));
	free(same);
	free(text);
	return 0;
}
