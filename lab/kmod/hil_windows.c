// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lock windows on purpose: hold the config lock or the device lock of a PCI function for some time.
 *
 * One command for each write() to /dev/hil_windows: "KIND BDF [MILLISECONDS]".  The write sleeps while the
 * lock is held, for 1 to 10000 ms, and returns the number of bytes written.  SIGKILL ends it early; the lock
 * is given back whatever happens.
 *
 *   config MS      pci_cfg_access_lock() ... pci_cfg_access_unlock()
 *   device MS      device_lock() ... device_unlock()
 *   both MS        pci_dev_lock() ... pci_dev_unlock(): the device lock, then the config lock
 *   try MS         pci_cfg_access_trylock() ... pci_cfg_access_unlock(); EBUSY when somebody holds it
 *   bridge MS      as both, on the upstream bridge; ENODEV when there is none
 *
 * and four that break a rule, so that whoever watches can prove that it notices:
 *
 *   steal          pci_cfg_access_unlock() of a lock that somebody else holds
 *   unbalanced MS  as config, and pci_cfg_access_unlock() once more
 *   forever        pci_cfg_access_lock(), and return without giving it back
 *   give-back      give back what forever took; EINVAL when it took nothing
 *
 * Other errors: EINVAL for a command that is not understood or a duration out of range, ENODEV for an address
 * without a function, EBUSY while the same open file has a window on the same function, EINTR for a window that
 * SIGKILL cut short.
 *
 * pread() at 0 gives the times of the last window of this open file, "ASKED ACQUIRED RELEASED", nanoseconds of
 * CLOCK_MONOTONIC, 0 for a step that was not taken.
 *
 * The sleep happens inside hil_hold_config_lock() or hil_hold_device_lock(), so that probes on their entry and
 * their return show the window.  While the former sleeps, the config lock of its function is certainly held;
 * while the latter sleeps, the device lock is.
 */
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define LONGEST_MS 10000
#define LONGEST_COMMAND 63

struct window {
	struct list_head entry;
	struct pci_dev *dev;
	u64 asked_ns, acquired_ns, released_ns;
};

/* One open file. */
struct session {
	struct mutex lock; /* the list, and the times */
	struct list_head open;
	u64 asked_ns, acquired_ns, released_ns;
};

static DEFINE_MUTEX(kept_lock);
static LIST_HEAD(kept); /* what "forever" took: struct window, each with its reference to the device */

void hil_hold_config_lock(struct pci_dev *dev, unsigned int ms);
void hil_hold_device_lock(struct pci_dev *dev, unsigned int ms);

static void sleep_unless_killed(unsigned int ms)
{
	ktime_t until = ktime_add_ms(ktime_get(), ms);

	/* TASK_KILLABLE: the detector of hung tasks leaves it alone, and SIGKILL wakes it at once. */
	while (!fatal_signal_pending(current) && ktime_before(ktime_get(), until)) {
		set_current_state(TASK_KILLABLE);
		schedule_hrtimeout(&until, HRTIMER_MODE_ABS);
	}
}

/* External and never inlined: their entries and returns are what is probed. */
noinline void hil_hold_config_lock(struct pci_dev *dev, unsigned int ms)
{
	sleep_unless_killed(ms);
}

noinline void hil_hold_device_lock(struct pci_dev *dev, unsigned int ms)
{
	sleep_unless_killed(ms);
}

static int config_window(struct window *window, unsigned int ms)
{
	window->asked_ns = ktime_get_ns();
	pci_cfg_access_lock(window->dev);
	window->acquired_ns = ktime_get_ns();
	hil_hold_config_lock(window->dev, ms);
	window->released_ns = ktime_get_ns();
	pci_cfg_access_unlock(window->dev);
	return 0;
}

static int device_window(struct window *window, unsigned int ms)
{
	window->asked_ns = ktime_get_ns();
	device_lock(&window->dev->dev);
	window->acquired_ns = ktime_get_ns();
	hil_hold_device_lock(window->dev, ms);
	window->released_ns = ktime_get_ns();
	device_unlock(&window->dev->dev);
	return 0;
}

static int hold_both(struct window *window, struct pci_dev *dev, unsigned int ms)
{
	window->asked_ns = ktime_get_ns();
	pci_dev_lock(dev);
	window->acquired_ns = ktime_get_ns();
	hil_hold_device_lock(dev, ms);
	window->released_ns = ktime_get_ns();
	pci_dev_unlock(dev);
	return 0;
}

static int both_window(struct window *window, unsigned int ms)
{
	return hold_both(window, window->dev, ms);
}

static int bridge_window(struct window *window, unsigned int ms)
{
	struct pci_dev *bridge = pci_dev_get(pci_upstream_bridge(window->dev));
	int error;

	if (!bridge)
		return -ENODEV;
	error = hold_both(window, bridge, ms);
	pci_dev_put(bridge);
	return error;
}

static int try_window(struct window *window, unsigned int ms)
{
	window->asked_ns = ktime_get_ns();
	if (!pci_cfg_access_trylock(window->dev))
		return -EBUSY;
	window->acquired_ns = ktime_get_ns();
	hil_hold_config_lock(window->dev, ms);
	window->released_ns = ktime_get_ns();
	pci_cfg_access_unlock(window->dev);
	return 0;
}

static int unbalanced_window(struct window *window, unsigned int ms)
{
	config_window(window, ms);
	pci_cfg_access_unlock(window->dev); /* nobody holds it: the kernel warns */
	return 0;
}

static int steal(struct window *window, unsigned int ms)
{
	window->released_ns = ktime_get_ns();
	pci_cfg_access_unlock(window->dev);
	return 0;
}

static int take_forever(struct window *window, unsigned int ms)
{
	struct window *taken = kzalloc(sizeof(*taken), GFP_KERNEL);

	if (!taken)
		return -ENOMEM;
	window->asked_ns = ktime_get_ns();
	pci_cfg_access_lock(window->dev);
	window->acquired_ns = ktime_get_ns();
	taken->dev = pci_dev_get(window->dev);
	mutex_lock(&kept_lock);
	list_add(&taken->entry, &kept);
	mutex_unlock(&kept_lock);
	return 0;
}

static void give_back_one(struct window *taken)
{
	list_del(&taken->entry);
	pci_cfg_access_unlock(taken->dev);
	pci_dev_put(taken->dev);
	kfree(taken);
}

static int give_back(struct window *window, unsigned int ms)
{
	struct window *taken;
	int error = -EINVAL;

	mutex_lock(&kept_lock);
	list_for_each_entry(taken, &kept, entry) {
		if (taken->dev != window->dev)
			continue;
		window->released_ns = ktime_get_ns();
		give_back_one(taken);
		error = 0;
		break;
	}
	mutex_unlock(&kept_lock);
	return error;
}

static const struct kind {
	const char *name;
	int (*run)(struct window *window, unsigned int ms);
	bool timed;
} kinds[] = {
	{ "config", config_window, true },
	{ "device", device_window, true },
	{ "both", both_window, true },
	{ "try", try_window, true },
	{ "bridge", bridge_window, true },
	{ "unbalanced", unbalanced_window, true },
	{ "steal", steal, false },
	{ "forever", take_forever, false },
	{ "give-back", give_back, false },
};

/* Find the kind, the function (with a reference) and the duration; 0 or a negative errno. */
static int parse(char *text, const struct kind **kind, struct pci_dev **dev, unsigned int *ms)
{
	char *words[3] = {}, *word;
	unsigned int domain, bus, slot, number, at = 0;
	char address[sizeof("00000000:ff:1f.7")];

	while ((word = strsep(&text, " \n"))) {
		if (!*word)
			continue;
		if (at == ARRAY_SIZE(words))
			return -EINVAL;
		words[at++] = word;
	}
	if (at < 2)
		return -EINVAL;
	*kind = NULL;
	for (at = 0; at < ARRAY_SIZE(kinds); at++)
		if (!strcmp(words[0], kinds[at].name))
			*kind = &kinds[at];
	if (!*kind || (*kind)->timed != !!words[2])
		return -EINVAL;
	*ms = 0;
	if (words[2] && (kstrtouint(words[2], 10, ms) || !*ms || *ms > LONGEST_MS))
		return -EINVAL;
	if (sscanf(words[1], "%x:%x:%x.%x", &domain, &bus, &slot, &number) != 4 || bus > 0xff || slot > 0x1f ||
	    number > 7)
		return -EINVAL;
	snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", domain, bus, slot, number);
	if (strcmp(words[1], address)) /* written as the kernel does, or not understood */
		return -EINVAL;
	*dev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, number));
	return *dev ? 0 : -ENODEV;
}

static bool has_window_on(struct session *session, struct pci_dev *dev)
{
	struct window *other;

	list_for_each_entry(other, &session->open, entry)
		if (other->dev == dev)
			return true;
	return false;
}

static int begin(struct session *session, struct window *window, bool timed)
{
	int error = 0;

	mutex_lock(&session->lock);
	if (timed && has_window_on(session, window->dev))
		error = -EBUSY;
	else
		list_add(&window->entry, &session->open);
	mutex_unlock(&session->lock);
	return error;
}

static void end(struct session *session, struct window *window)
{
	mutex_lock(&session->lock);
	list_del(&window->entry);
	session->asked_ns = window->asked_ns;
	session->acquired_ns = window->acquired_ns;
	session->released_ns = window->released_ns;
	mutex_unlock(&session->lock);
}

static ssize_t hil_write(struct file *file, const char __user *from, size_t count, loff_t *position)
{
	struct session *session = file->private_data;
	struct window window = {};
	const struct kind *kind;
	char text[LONGEST_COMMAND + 1];
	unsigned int ms;
	int error;

	if (count > LONGEST_COMMAND)
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	text[count] = 0;
	error = parse(text, &kind, &window.dev, &ms);
	if (error)
		return error;
	error = begin(session, &window, kind->timed);
	if (!error) {
		error = kind->run(&window, ms);
		end(session, &window);
	}
	pci_dev_put(window.dev);
	if (!error && fatal_signal_pending(current))
		error = -EINTR;
	return error ?: count;
}

static ssize_t hil_read(struct file *file, char __user *to, size_t count, loff_t *position)
{
	struct session *session = file->private_data;
	char text[64];
	int length;

	mutex_lock(&session->lock);
	length = scnprintf(text, sizeof(text), "%llu %llu %llu\n", session->asked_ns, session->acquired_ns,
			   session->released_ns);
	mutex_unlock(&session->lock);
	return simple_read_from_buffer(to, count, position, text, length);
}

static int hil_open(struct inode *inode, struct file *file)
{
	struct session *session = kzalloc(sizeof(*session), GFP_KERNEL);

	if (!session)
		return -ENOMEM;
	mutex_init(&session->lock);
	INIT_LIST_HEAD(&session->open);
	file->private_data = session;
	return 0;
}

/* Nobody is inside hil_write() here: the kernel holds the file while a system call uses it. */
static int hil_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = hil_open,
	.release = hil_release,
	.read = hil_read,
	.write = hil_write,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hil_windows",
	.fops = &operations,
	.mode = 0600,
};

static int __init hil_init(void)
{
	return misc_register(&device);
}

/* The kernel lets a module go only when no file of it is open: only what "forever" took can be left. */
static void __exit hil_exit(void)
{
	struct window *taken, *next;

	misc_deregister(&device);
	list_for_each_entry_safe(taken, next, &kept, entry)
		give_back_one(taken);
}

module_init(hil_init);
module_exit(hil_exit);
MODULE_DESCRIPTION("Holds locks of a PCI function for some time, to test those who meet them");
MODULE_LICENSE("GPL v2");
