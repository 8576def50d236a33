/* The actor loop: run a small program of steps, stamp CLOCK_MONOTONIC around each, append fixed-size records.
 *
 * Everything an actor needs lies in one shared memory (a memfd): the stage header at offset 0, and for each
 * actor a lane, its steps, the data they point to, and room for its records.  The agent maps the same memory, so
 * it can read what an actor was doing even when that actor sleeps in the kernel and cannot be killed: a record is
 * begun (end_ns 0) before the system call and completed after it.
 *
 * A lane that is too small for its stage is thinned from `thin_from` records on: of accesses that follow one another at one step
 * and are alike, as hx_step.alike says, those between the first and the last of `thin_ns` leave their room to the next.
 * So every row is an access as it was; what lies between two rows of a step is like both, took no longer than `thin_ns`
 * together with both, and is counted by the rounds that are missing.
 *
 * cffi releases the GIL around hx_act().  Nothing here allocates, and nothing is shared between actors but the
 * stage header.
 *
 * Python.h comes before all of this and asks for the declarations of GNU (_GNU_SOURCE).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { /* hx_step.op */
    HX_OPEN,       /* open the path at `data` with flags `width` into `slot` */
    HX_TAKE,       /* the descriptor `width`, which came with the order, is `slot` */
    HX_MAP,        /* map `time_ns` bytes (0: all) at `offset` of `width` as mapping `slot`, shared, read and write */
    HX_DROP,       /* become the user nobody, for ever */
    HX_RENDEZVOUS, /* wait until every actor of the stage is here; all leave together */
    HX_BEGIN,      /* sleep until `time_ns` after the release; the first pause counts from there */
    HX_READ,       /* pread `width` bytes at `offset` of `slot` */
    HX_WRITE,      /* pwrite the `width` bytes at `data` to `offset` of `slot` */
    HX_LOAD,       /* load `width` bytes at `offset` of the mapping `slot` */
    HX_STORE,      /* store the `width` bytes at `data` there */
    HX_TRY_OPEN,   /* open the path at `data` with flags `width`, and close it again */
    HX_IOCTL,      /* request `offset` on `slot` with a copy of the `width` bytes at `data`; what it returns is
                      a descriptor for slot `times` - 1, unless `times` is 0 */
    HX_CLOSE,      /* close `slot` */
    HX_COUNT,      /* read how often the eventfd `slot` was signalled since it was read last */
    HX_RETRY,      /* when the step before was refused with an errno of `struct hx_patience` at `data`, sleep and go
                      back to step `slot`, until `times` attempts were made or `time_ns` went by since the first */
    HX_PAUSE,      /* sleep until `time_ns` after the planned end of the last pause */
    HX_REPEAT,     /* go back to step `slot`, until `times` rounds (0: any number) or the end of the stage */
};

enum { /* hx_step.alike: which accesses of a step are alike, of those that came to the same result and errno */
    HX_NEVER,  /* none */
    HX_EQUAL,  /* those with the same value */
    HX_DATA,   /* those with the same value, and those that are neither all-zero nor all-ones in `width` bytes */
    HX_ALWAYS, /* all: the value is of the step's own making */
};

enum { /* hx_lane.state */
    HX_NEW,
    HX_ARRIVED, /* its files are open, it waits for the others */
    HX_RUNNING,
    HX_DONE,
    HX_REFUSED, /* step `at` of the set-up failed with `error` */
};

struct hx_step {
    uint32_t op;
    uint32_t slot;
    uint64_t offset;
    uint64_t time_ns;
    uint32_t width;
    uint32_t data;  /* offset of its bytes in the lane's data */
    uint32_t step;  /* number of the step in the plan, for the record */
    uint32_t times;
    uint32_t alike;
    uint32_t first; /* kept by the actor: 1 + the record from which on accesses are alike, 0: none */
    uint32_t last;  /* and 1 + the last of those after it */
    uint32_t reserved;
};

struct hx_patience { /* the data of HX_RETRY */
    int64_t first_ns;   /* pause before the second attempt; doubles for each further one */
    int64_t longest_ns; /* but is never longer than this */
    int32_t errnos[8];  /* what may be retried; 0 ends the list */
};

struct hx_record { /* the row OPERATION of harness/history/columns.py, byte for byte */
    int64_t begin_ns;
    int64_t end_ns;
    uint64_t value;
    int32_t result;
    int32_t error;
    uint16_t actor;
    uint16_t step;
    uint32_t round;
};

/* What a page of the memory begins with.  A page is found from outside the machine by its physical address, which the
 * kernel may change by moving the page: whoever reads one must find this, with the id of the stage and the offset. */
struct hx_mark {
    uint64_t magic;
    uint64_t stage; /* CLOCK_MONOTONIC when the memory was laid out: no two stages of a machine share it */
    uint64_t at;    /* offset of this page in the memory */
};

#define HX_MAGIC 0x6c69682d65676174 /* "tage-hil" */

struct hx_stage {
    struct hx_mark mark;
    uint32_t actors;
    uint32_t arrived;
    uint32_t stop; /* set by the agent: begin no further round */
    uint32_t reserved;
    int64_t release_ns; /* 0 until the last actor has arrived */
    int64_t lasting_ns;
};

/* What an actor is doing, in one word that is written at once: HX_FLYING and HX_LANDED tell whether an operation is in
 * flight or has returned (neither: none has begun), then 14 low bits of the time it began, its step and its round. */
#define HX_FLYING (1ULL << 63)
#define HX_LANDED (1ULL << 62)
#define HX_TIME_BITS 14
#define HX_TIME_AT 48
#define HX_STEP_AT 32

struct hx_lane {
    struct hx_mark mark;
    /* Three stores an operation, and a reader may come between any two of them, or copy one before and one after: the
     * time is that of the operation in `doing` when its low bits are those in `doing`, and unknown otherwise. */
    int64_t since_ns;
    uint64_t doing;
    uint32_t state;
    uint32_t actor;
    int32_t tid;
    int32_t error;
    uint32_t at; /* step of the program it is at */
    uint32_t rounds;
    uint32_t count; /* records begun */
    uint32_t capacity;
    uint32_t lost; /* operations done without room for a record */
    uint32_t steps;
    uint32_t thin_from; /* records begun before any is left out */
    uint32_t spare;     /* 1 + the record that the next operation takes, 0: none */
    int64_t thin_ns;    /* from the call of the first to the return of the last of accesses that are alike */
    int64_t lost_ns;    /* since when operations are lost */
    uint64_t thinned;   /* operations whose record was left to another */
    uint64_t steps_at; /* offsets in the shared memory */
    uint64_t data_at;
    uint64_t records_at;
};

#define SLOTS 16
#define NOBODY 65534
#define LARGEST_ARGUMENT 256 /* of an ioctl */
#define POPULATED (3 << 20) /* enough for 78,000 records; touching everything takes longer than most stages */
#define LARGEST 4096 /* of one read or write: no more than a whole extended config space */

static const int64_t GATHER_NS = 7000000; /* from last arrival to release: everybody has seen the release time */
static const int64_t SPIN_NS = 2500000;  /* the last stretch is spun: an emulated timer wakes up to some ms late */
static const int64_t POLL_NS = 300000;

static int64_t hx_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_until(int64_t when_ns)
{
    struct timespec when = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
        ;
}

/* Stay on one CPU, another one for each actor as far as there are enough: two that spin on one CPU start one after
 * the other.  Returns whether it worked; `everywhere` is where it may run otherwise. */
static int settle(uint32_t actor, cpu_set_t *everywhere)
{
    cpu_set_t mine;
    int wanted, cpu;

    if (sched_getaffinity(0, sizeof(*everywhere), everywhere) < 0)
        return 0;
    wanted = (int)(actor % (uint32_t)CPU_COUNT(everywhere));
    for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, everywhere) && wanted-- == 0)
            break;
    CPU_ZERO(&mine);
    CPU_SET(cpu, &mine);
    return sched_setaffinity(0, sizeof(mine), &mine) == 0;
}

static void rendezvous(struct hx_stage *stage)
{
    int64_t release;

    if (__atomic_add_fetch(&stage->arrived, 1, __ATOMIC_ACQ_REL) == stage->actors)
        __atomic_store_n(&stage->release_ns, hx_now() + GATHER_NS, __ATOMIC_RELEASE);
    while ((release = __atomic_load_n(&stage->release_ns, __ATOMIC_ACQUIRE)) == 0) {
        if (__atomic_load_n(&stage->stop, __ATOMIC_ACQUIRE))
            return;
        sleep_until(hx_now() + POLL_NS);
    }
    sleep_until(release - SPIN_NS);
    while (hx_now() < release)
        ;
}

static uint64_t load(const volatile uint8_t *at, uint32_t width)
{
    switch (width) {
    case 1: return *at;
    case 2: return *(const volatile uint16_t *)at;
    case 4: return *(const volatile uint32_t *)at;
    default: return *(const volatile uint64_t *)at;
    }
}

static void store(volatile uint8_t *at, uint32_t width, uint64_t value)
{
    switch (width) {
    case 1: *at = (uint8_t)value; break;
    case 2: *(volatile uint16_t *)at = (uint16_t)value; break;
    case 4: *(volatile uint32_t *)at = (uint32_t)value; break;
    default: *(volatile uint64_t *)at = value; break;
    }
}

/* What happens when the kernel has taken a mapping away: the access ends here.  One actor is one thread. */
static __thread sigjmp_buf landing;
static __thread volatile sig_atomic_t touching;
static __thread uintptr_t fault;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!touching) { /* none of ours: there is nowhere to land */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    fault = (uintptr_t)info->si_addr;
    siglongjmp(landing, 1);
}

/* Load or store through a mapping.  Returns the width, or -1 with errno -SIGBUS and the offset in `value`. */
static ssize_t touch(const struct hx_step *step, uint8_t *map, uint64_t *value)
{
    if (sigsetjmp(landing, 0) != 0) {
        touching = 0;
        *value = fault - (uintptr_t)map;
        errno = -SIGBUS;
        return -1;
    }
    touching = 1;
    if (step->op == HX_LOAD)
        *value = load(map + step->offset, step->width);
    else
        store(map + step->offset, step->width, *value);
    touching = 0;
    return (ssize_t)step->width;
}

/* Open, map, give up privilege: before the stage begins.  Returns 0 or the errno. */
static int set_up(const struct hx_step *step, const uint8_t *data, int *files, void **maps, size_t *sizes)
{
    struct stat status;
    size_t size = (size_t)step->time_ns;

    if (step->slot >= SLOTS)
        return EINVAL;
    switch (step->op) {
    case HX_OPEN:
        files[step->slot] = open((const char *)data + step->data, (int)step->width | O_CLOEXEC);
        return files[step->slot] < 0 ? errno : 0;
    case HX_TAKE:
        files[step->slot] = (int)step->width;
        return fcntl(files[step->slot], F_GETFD) < 0 ? errno : 0;
    case HX_DROP:
        return setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
               setresuid(NOBODY, NOBODY, NOBODY) < 0 ? errno : 0;
    default:
        if (step->width >= SLOTS)
            return EINVAL;
        if (size == 0) {
            if (fstat(files[step->width], &status) < 0)
                return errno;
            size = (size_t)status.st_size;
        }
        maps[step->slot] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, files[step->width], (off_t)step->offset);
        if (maps[step->slot] == MAP_FAILED)
            return errno;
        sizes[step->slot] = size;
        return 0;
    }
}

/* Do what one step says, but for the small reads that nearly all steps are: the buffers of this function must not weigh
 * on those.  Returns what the call returned. */
static __attribute__((noinline)) ssize_t perform(const struct hx_step *step, const uint8_t *data, const int *files,
                                                 void *const *maps, uint64_t *value)
{
    _Alignas(LARGEST) uint8_t buffer[LARGEST]; /* a disk is read and written in place */
    uint8_t argument[LARGEST_ARGUMENT];
    ssize_t result;

    switch (step->op) {
    case HX_READ:
        result = pread(files[step->slot], buffer, step->width < LARGEST ? step->width : LARGEST, (off_t)step->offset);
        if (result > 0)
            memcpy(value, buffer, result < 8 ? (size_t)result : 8);
        return result;
    case HX_COUNT: /* eventfds know no offset: pread is refused */
        return read(files[step->slot], value, sizeof(*value));
    case HX_WRITE:
        memcpy(buffer, data + step->data, step->width < LARGEST ? step->width : LARGEST);
        return pwrite(files[step->slot], buffer, step->width < LARGEST ? step->width : LARGEST, (off_t)step->offset);
    case HX_LOAD:
    case HX_STORE:
        return touch(step, maps[step->slot], value);
    case HX_TRY_OPEN:
        return open((const char *)data + step->data, (int)step->width | O_CLOEXEC);
    case HX_IOCTL: /* the kernel writes into the argument: the next round needs it as it was */
        memcpy(argument, data + step->data, step->width < LARGEST_ARGUMENT ? step->width : LARGEST_ARGUMENT);
        return ioctl(files[step->slot], (unsigned long)step->offset, step->width > 0 ? argument : NULL);
    default:
        return close(files[step->slot]);
    }
}

/* What is left to do with descriptors when the time has been taken. */
static void tidy(const struct hx_step *step, int *files, ssize_t result)
{
    if (step->op == HX_TRY_OPEN && result >= 0)
        close((int)result);
    if (step->op == HX_IOCTL && step->times > 0 && result >= 0) {
        if (files[step->times - 1] >= 0) /* nobody else would ever close it */
            close(files[step->times - 1]);
        files[step->times - 1] = (int)result;
    }
    if (step->op == HX_CLOSE)
        files[step->slot] = -1;
}

static inline __attribute__((always_inline)) void take_off(struct hx_lane *lane, const struct hx_record *record)
{
    uint64_t time = (uint64_t)record->begin_ns & ((1 << HX_TIME_BITS) - 1);

    __atomic_store_n(&lane->since_ns, record->begin_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&lane->doing, HX_FLYING | time << HX_TIME_AT | (uint64_t)record->step << HX_STEP_AT | record->round,
                     __ATOMIC_RELEASE);
}

static inline __attribute__((always_inline)) void land(struct hx_lane *lane)
{
    __atomic_store_n(&lane->doing, lane->doing ^ (HX_FLYING | HX_LANDED), __ATOMIC_RELEASE);
}

/* One measured operation.  `since` is when the one before it ended, 0 when something else lies between: operations
 * that follow one another share a reading of the clock, so that half of the readings are spared. */
static inline __attribute__((always_inline)) void operate(const struct hx_step *step, const uint8_t *data, int *files,
                                                          void *const *maps, struct hx_lane *lane,
                                                          struct hx_record *record, int64_t since)
{
    uint64_t value = 0;
    ssize_t result;

    if (step->op == HX_WRITE || step->op == HX_STORE)
        memcpy(&value, data + step->data, step->width < 8 ? step->width : 8);
    record->value = value;
    __atomic_store_n(&record->begin_ns, since ? since : hx_now(), __ATOMIC_RELEASE);
    take_off(lane, record);
    if (step->op == HX_READ && step->width <= sizeof(value))
        result = pread(files[step->slot], &value, step->width, (off_t)step->offset);
    else
        result = perform(step, data, files, maps, &value);
    int32_t error = result < 0 ? errno : 0;
    int64_t end = hx_now();
    if (step->op == HX_TRY_OPEN || step->op == HX_IOCTL || step->op == HX_CLOSE)
        tidy(step, files, result);
    record->value = value;
    record->result = (int32_t)result;
    record->error = error;
    __atomic_store_n(&record->end_ns, end, __ATOMIC_RELEASE);
    land(lane);
}

/* Where the next operation goes: room in the lane, or `overflow` when there is none left.  A record that is left to the
 * next operation stays an access of its own, whole, until that begins. */
static inline __attribute__((always_inline)) struct hx_record *next_record(struct hx_lane *lane,
                                                                           struct hx_record *records,
                                                                           const struct hx_step *step, uint32_t round,
                                                                           struct hx_record *overflow)
{
    struct hx_record *record = lane->count < lane->capacity ? &records[lane->count] : overflow;

    if (lane->spare != 0) {
        record = &records[lane->spare - 1];
        lane->spare = 0;
        lane->thinned++;
    } else if (record == overflow && lane->lost++ == 0) {
        lane->lost_ns = hx_now();
    }
    __atomic_store_n(&record->end_ns, 0, __ATOMIC_RELEASE);
    record->actor = (uint16_t)lane->actor;
    record->step = (uint16_t)step->step;
    record->round = round;
    if (record == &records[lane->count])
        __atomic_store_n(&lane->count, lane->count + 1, __ATOMIC_RELEASE);
    return record;
}

static int alike(const struct hx_step *step, const struct hx_record *one, const struct hx_record *other)
{
    uint64_t ones = step->width < 8 ? (1ULL << 8 * step->width) - 1 : ~0ULL;

    if (one->result != other->result || one->error != other->error)
        return 0;
    return step->alike == HX_ALWAYS || one->value == other->value ||
           (step->alike == HX_DATA && one->value != 0 && other->value != 0 && one->value != ones && other->value != ones);
}

/* When the access that just ended is the third or a later one of those that are alike, the one before it is left out. */
static __attribute__((noinline)) void thin(struct hx_lane *lane, struct hx_record *records, struct hx_step *step,
                                           const struct hx_record *record)
{
    const struct hx_record *first = &records[step->first - 1];
    uint32_t own = (uint32_t)(record - records) + 1;

    if (step->first != 0 && record->end_ns - first->begin_ns <= lane->thin_ns && alike(step, first, record)) {
        lane->spare = step->last;
        step->last = own;
    } else {
        step->first = own;
        step->last = 0;
    }
}

/* Go through the motions of a first read, of no bytes, which sysfs and procfs answer before they touch a device.
 * An emulated CPU translates code when it first runs it: that must not fall between release and first operation. */
static void rehearse(const struct hx_step *step, const uint8_t *data, int *files, void *const *maps)
{
    struct hx_step nothing = *step;
    struct hx_lane scratch = {.capacity = 0};
    struct hx_record record;

    nothing.width = 0;
    if (step->op == HX_READ)
        operate(&nothing, data, files, maps, &scratch, next_record(&scratch, &record, &nothing, 0, &record), 0);
}

/* How long to sleep before attempt `tried` + 2 of what failed with `error`; -1 when it must not be tried again. */
static int64_t pause_before_retry(const struct hx_step *step, const struct hx_patience *patience, int32_t error,
                                  uint32_t tried, int64_t since_first)
{
    int64_t pause = patience->first_ns;
    size_t known = 0;

    while (known < sizeof(patience->errnos) / sizeof(patience->errnos[0]) && patience->errnos[known] != 0 &&
           patience->errnos[known] != error)
        known++;
    if (error == 0 || known == sizeof(patience->errnos) / sizeof(patience->errnos[0]) || patience->errnos[known] == 0)
        return -1;
    for (uint32_t n = 0; n < tried && pause < patience->longest_ns; n++)
        pause *= 2;
    if (pause > patience->longest_ns)
        pause = patience->longest_ns;
    return tried + 1 < step->times && since_first + pause <= (int64_t)step->time_ns ? pause : -1;
}

/* Run the program of the lane at `lane_at`.  Returns 0, or -1 with errno when the memory cannot be mapped;
 * everything else is told through the lane. */
static int hx_act(int memory_fd, uint64_t size, uint64_t lane_at)
{
    int files[SLOTS];
    void *maps[SLOTS] = {NULL};
    size_t sizes[SLOTS] = {0};
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);

    if (memory == MAP_FAILED)
        return -1;
    memset(files, -1, sizeof(files));

    struct hx_stage *stage = (struct hx_stage *)memory;
    struct hx_lane *lane = (struct hx_lane *)(memory + lane_at);
    struct hx_step *steps = (struct hx_step *)(memory + lane->steps_at);
    const uint8_t *data = memory + lane->data_at;
    struct hx_record *records = (struct hx_record *)(memory + lane->records_at);
    struct hx_record overflow;
    int64_t planned = 0, end = 0, latest = 0, first_attempt = 0;
    uint32_t round = 0, tried = 0;
    int32_t last_error = 0;
    cpu_set_t everywhere;
    int settled = 0;
    struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER}, bus_before;

    lane->tid = (int32_t)syscall(SYS_gettid);
    sigaction(SIGBUS, &bus, &bus_before);
    /* Touch the first records now: a page fault in the loop would look like a slow machine. */
    size_t room = lane->capacity * sizeof(*records);
    madvise(records, room < POPULATED ? room : POPULATED, MADV_POPULATE_WRITE);

    for (uint32_t at = 0; at < lane->steps; at++) {
        struct hx_step *step = &steps[at];
        lane->at = at;
        switch (step->op) {
        case HX_OPEN:
        case HX_TAKE:
        case HX_DROP:
        case HX_MAP: {
            int error = set_up(step, data, files, maps, sizes);
            if (error != 0) {
                lane->error = error;
                __atomic_store_n(&lane->state, HX_REFUSED, __ATOMIC_RELEASE);
                goto out;
            }
            break;
        }
        case HX_RENDEZVOUS:
            if (at + 2 < lane->steps) /* after HX_BEGIN */
                rehearse(&steps[at + 2], data, files, maps);
            settled = settle(lane->actor, &everywhere);
            __atomic_store_n(&lane->state, HX_ARRIVED, __ATOMIC_RELEASE);
            rendezvous(stage);
            end = stage->release_ns + stage->lasting_ns;
            planned = stage->release_ns;
            __atomic_store_n(&lane->state, HX_RUNNING, __ATOMIC_RELEASE);
            if (__atomic_load_n(&stage->stop, __ATOMIC_ACQUIRE))
                goto done;
            break;
        case HX_BEGIN:
            planned = stage->release_ns + (int64_t)step->time_ns;
            if (planned >= end)
                goto done;
            if (step->time_ns > 0)
                sleep_until(planned);
            lane->rounds = 1;
            break;
        case HX_REPEAT:
            if (settled) { /* the start is over: the scheduler knows better from here on */
                sched_setaffinity(0, sizeof(everywhere), &everywhere);
                settled = 0;
            }
            if ((step->times != 0 && round + 1 >= step->times) || (latest ? latest : hx_now()) >= end ||
                __atomic_load_n(&stage->stop, __ATOMIC_ACQUIRE))
                goto done;
            round++;
            lane->rounds = round + 1;
            at = step->slot - 1; /* the loop adds one */
            break;
        case HX_RETRY: {
            struct hx_patience patience;
            memcpy(&patience, data + step->data, sizeof(patience));
            int64_t pause = pause_before_retry(step, &patience, last_error, tried, hx_now() - first_attempt);
            if (pause < 0 || __atomic_load_n(&stage->stop, __ATOMIC_ACQUIRE)) {
                tried = 0;
                break;
            }
            sleep_until(hx_now() + pause);
            latest = 0;
            if (__atomic_load_n(&stage->stop, __ATOMIC_ACQUIRE)) {
                tried = 0;
                break;
            }
            tried++;
            at = step->slot - 1;
            break;
        }
        default: {
            /* What uses a descriptor that could not be had is not done, and not recorded. */
            if ((step->op == HX_READ || step->op == HX_WRITE || step->op == HX_IOCTL || step->op == HX_CLOSE ||
                 step->op == HX_COUNT) &&
                files[step->slot] < 0) {
                latest = 0;
                last_error = 0;
                break;
            }
            if (step->op == HX_PAUSE && planned + (int64_t)step->time_ns >= end)
                goto done; /* nothing can follow it: leave no record of a pause that never was */
            struct hx_record *record = next_record(lane, records, step, round, &overflow);
            if (step->op != HX_PAUSE) {
                operate(step, data, files, maps, lane, record, latest);
                latest = record->end_ns;
                last_error = record->error;
                if (tried == 0)
                    first_attempt = record->begin_ns;
            } else {
                planned += (int64_t)step->time_ns;
                record->begin_ns = hx_now();
                take_off(lane, record);
                sleep_until(planned);
                record->value = (uint64_t)planned;
                record->result = record->error = 0;
                latest = hx_now();
                __atomic_store_n(&record->end_ns, latest, __ATOMIC_RELEASE);
                land(lane);
            }
            if (lane->count > lane->thin_from && step->alike != HX_NEVER && record != &overflow)
                thin(lane, records, step, record);
        }
        }
    }
done:
    __atomic_store_n(&lane->state, HX_DONE, __ATOMIC_RELEASE);
out:
    sigaction(SIGBUS, &bus_before, NULL);
    if (settled)
        sched_setaffinity(0, sizeof(everywhere), &everywhere);
    for (int slot = 0; slot < SLOTS; slot++) {
        if (maps[slot] != NULL && maps[slot] != MAP_FAILED)
            munmap(maps[slot], sizes[slot]);
        if (files[slot] >= 0)
            close(files[slot]);
    }
    munmap(memory, size);
    return 0;
}
