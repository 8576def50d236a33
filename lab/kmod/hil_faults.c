// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults of a kernel on purpose, so that whoever watches can prove that it notices each of them.
 *
 * One command for each write() to /dev/hil_faults, "KIND [MILLISECONDS [BDF]]", carried out by the writer:
 *
 *   warn           WARN(): the kernel warns of itself and goes on
 *   once           WARN_ON_ONCE(): the same, but only the first time, until /sys/kernel/debug/clear_warn_once
 *   bug            BUG(): an invalid opcode; the writer dies
 *   oops           a write to address 0x68; the writer dies
 *   gp             a write to a non-canonical address: a general protection fault; the writer dies
 *   list           a list is damaged and then used (CONFIG_LIST_HARDENED or CONFIG_DEBUG_LIST notices)
 *   refcount       a reference count goes below zero
 *   ubsan          an index beyond the end of an array (CONFIG_UBSAN_BOUNDS notices)
 *   panic          panic()
 *   nmi-hang       this processor spins with interrupts off, for ever
 *   hang           all processors spin with interrupts off, for ever
 *   soft MS        spins without giving the processor away, interrupts on: soft lockup, RCU stall
 *   rcu MS         the same inside rcu_read_lock()
 *   hung MS        sleeps in state D: hung task
 *   atomic         sleeps where nobody may: "scheduling while atomic"
 *   flood MS       writes lines to the console as fast as it takes them
 *   say MS BDF     writes "hil_faults BDF: said" as the driver of that function would (dev_warn); MS is ignored
 *
 * MS is 1 to 600000.  EINVAL for a command that is not understood, ENODEV for an address without a function.
 *
 * Never loaded by scenarios: for the tests of the harness alone.
 */
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define LONGEST_MS 600000
#define LONGEST_COMMAND 63
#define UNMAPPED 0x68UL
#define NOT_CANONICAL 0x6800000000000000UL

struct order {
	unsigned int ms;
	struct pci_dev *dev;
};

static int warn(const struct order *order)
{
	WARN(1, "hil_faults: a warning on request\n");
	return 0;
}

/* Not WARN_ONCE(): what that one remembers in a module, clear_warn_once does not reach. */
static int warn_first_time(const struct order *order)
{
	WARN_ON_ONCE(1);
	return 0;
}

static int bug(const struct order *order)
{
	BUG();
	return 0;
}

static int write_to(unsigned long address)
{
	WRITE_ONCE(*(volatile unsigned long *)address, 1);
	return 0;
}

static int oops(const struct order *order)
{
	return write_to(UNMAPPED);
}

static int protection(const struct order *order)
{
	return write_to(NOT_CANONICAL);
}

static int damaged_list(const struct order *order)
{
	struct list_head head, one;

	INIT_LIST_HEAD(&head);
	list_add(&one, &head);
	one.prev = &one;
	list_del(&one);
	return 0;
}

static int below_zero(const struct order *order)
{
	refcount_t count = REFCOUNT_INIT(1);

	refcount_dec(&count);
	refcount_dec(&count);
	return 0;
}

static int beyond_the_end(const struct order *order)
{
	static unsigned int few[4];
	volatile unsigned int at = 4;

	few[at & 7] = 1;
	return 0;
}

static int stop_the_kernel(const struct order *order)
{
	panic("hil_faults: a panic on request");
	return 0;
}

static void spin_for_ever(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static int hang_one(const struct order *order)
{
	spin_for_ever(NULL);
	return 0;
}

static int hang_all(const struct order *order)
{
	preempt_disable();
	smp_call_function(spin_for_ever, NULL, 0);
	spin_for_ever(NULL);
	preempt_enable();
	return 0;
}

static void spin(unsigned int ms)
{
	ktime_t until = ktime_add_ms(ktime_get(), ms);

	while (ktime_before(ktime_get(), until))
		cpu_relax();
}

static int soft_lockup(const struct order *order)
{
	preempt_disable();
	spin(order->ms);
	preempt_enable();
	return 0;
}

static int stall_readers(const struct order *order)
{
	rcu_read_lock();
	preempt_disable();
	spin(order->ms);
	preempt_enable();
	rcu_read_unlock();
	return 0;
}

static int sleep_in_d(const struct order *order)
{
	ktime_t until = ktime_add_ms(ktime_get(), order->ms);

	while (ktime_before(ktime_get(), until)) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule_timeout(msecs_to_jiffies(order->ms) + 1);
	}
	return 0;
}

static int sleep_while_atomic(const struct order *order)
{
	preempt_disable();
	msleep(1);
	if (preempt_count()) /* the scheduler has complained, and set the count to what it may sleep with: 0 */
		preempt_enable();
	return 0;
}

static int flood(const struct order *order)
{
	ktime_t until = ktime_add_ms(ktime_get(), order->ms);
	unsigned int number = 0;

	while (ktime_before(ktime_get(), until) && !fatal_signal_pending(current)) {
		pr_crit("flood %08u ...............................................................\n", number++);
		cond_resched();
	}
	return 0;
}

static int say(const struct order *order)
{
	dev_warn(&order->dev->dev, "hil_faults: said on request\n");
	return 0;
}

static const struct kind {
	const char *name;
	int (*run)(const struct order *order);
	unsigned int words; /* the kind itself, a duration, an address */
} kinds[] = {
	{ "warn", warn, 1 },
	{ "once", warn_first_time, 1 },
	{ "bug", bug, 1 },
	{ "oops", oops, 1 },
	{ "gp", protection, 1 },
	{ "list", damaged_list, 1 },
	{ "refcount", below_zero, 1 },
	{ "ubsan", beyond_the_end, 1 },
	{ "panic", stop_the_kernel, 1 },
	{ "nmi-hang", hang_one, 1 },
	{ "hang", hang_all, 1 },
	{ "soft", soft_lockup, 2 },
	{ "rcu", stall_readers, 2 },
	{ "hung", sleep_in_d, 2 },
	{ "atomic", sleep_while_atomic, 1 },
	{ "flood", flood, 2 },
	{ "say", say, 3 },
};

static const struct kind *find(const char *name)
{
	unsigned int at;

	for (at = 0; at < ARRAY_SIZE(kinds); at++)
		if (!strcmp(name, kinds[at].name))
			return &kinds[at];
	return NULL;
}

/* 0 or a negative errno; the function comes with a reference. */
static int parse(char *text, const struct kind **kind, struct order *order)
{
	char *words[3] = {}, *word;
	unsigned int domain, bus, slot, number, at = 0;

	while ((word = strsep(&text, " \n"))) {
		if (!*word)
			continue;
		if (at == ARRAY_SIZE(words))
			return -EINVAL;
		words[at++] = word;
	}
	*kind = at ? find(words[0]) : NULL;
	if (!*kind || (*kind)->words != at)
		return -EINVAL;
	if (at > 1 && (kstrtouint(words[1], 10, &order->ms) || !order->ms || order->ms > LONGEST_MS))
		return -EINVAL;
	if (at < 3)
		return 0;
	if (sscanf(words[2], "%x:%x:%x.%x", &domain, &bus, &slot, &number) != 4 || bus > 0xff || slot > 0x1f ||
	    number > 7)
		return -EINVAL;
	order->dev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, number));
	return order->dev ? 0 : -ENODEV;
}

static ssize_t hil_write(struct file *file, const char __user *from, size_t count, loff_t *position)
{
	struct order order = {};
	const struct kind *kind;
	char text[LONGEST_COMMAND + 1];
	int error;

	if (count > LONGEST_COMMAND)
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	text[count] = 0;
	error = parse(text, &kind, &order);
	if (!error)
		error = kind->run(&order);
	pci_dev_put(order.dev);
	return error ?: count;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.write = hil_write,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hil_faults",
	.fops = &operations,
	.mode = 0600,
};
module_misc_device(device);

MODULE_DESCRIPTION("Faults of a kernel on request, to test those who watch for them");
MODULE_LICENSE("GPL v2");
