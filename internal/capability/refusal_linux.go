// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package capability

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Effective returns the capabilities that the kernel checks this thread for.
func Effective() (Set, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read this process's capabilities: %w", err)
	}
	return Set(data[0].Effective) | Set(data[1].Effective)<<32, nil
}

// Refusal says why the kernel did not permit an operation.
type Refusal struct {
	why string
	// lacking are the capabilities that would help; empty when the process has all of them.
	lacking []Capability
	// outside: the operation would be permitted outside of a user namespace.
	outside bool
	err     error
}

// Error reports the cause alone. What lies between, such as the verifier's log, would
// mislead.
func (r *Refusal) Error() string {
	var errno unix.Errno
	if errors.As(r.err, &errno) {
		return r.why + ": " + errno.Error()
	}
	return r.why + ": " + r.err.Error()
}

func (r *Refusal) Unwrap() error { return r.err }

// Mendable is true when a capability is missing or a user namespace is in the way.
func (r *Refusal) Mendable() bool { return len(r.lacking) > 0 || r.outside }

// lack makes a Refusal of missing capabilities. A note says what they are for, where that
// is not obvious.
func lack(err error, lacking []Capability, note string) *Refusal {
	verb := "is"
	if len(lacking) > 1 {
		verb = "are"
	}
	return &Refusal{why: fmt.Sprintf("%s %s missing%s", enumerate(lacking), verb, note), lacking: lacking, err: err}
}

// Explain says why the kernel may have refused an operation that needs the given
// capabilities; without any, CAP_BPF and CAP_PERFMON. It names those that this process
// lacks or, when it has them all, what else may forbid the operation. Errors other than
// refusals, and errors that are explained already, are returned unchanged.
func Explain(err error, needs ...Capability) error {
	if len(needs) == 0 {
		needs = []Capability{BPF, Perfmon}
	}
	return explain(err, needs, "")
}

func explain(err error, needs []Capability, note string) error {
	var explained *Refusal
	if short := explainShortage(err); short != nil {
		return short
	}
	if !errors.Is(err, os.ErrPermission) || errors.As(err, &explained) {
		return err
	}
	held, capErr := Effective()
	if capErr != nil {
		return fmt.Errorf("needs %s: %w", enumerate(needs), err)
	}
	if lacking := held.lacking(needs); len(lacking) > 0 {
		return lack(err, lacking, note)
	}
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier) && explains(verifier.Log):
		return err
	case !held.Has(SysResource) && rlimit.RemoveMemlock() != nil:
		return lack(err, []Capability{SysResource}, memlockNote())
	case inUserNamespace():
		return &Refusal{why: "the capabilities of a user namespace do not count", outside: true, err: err}
	default:
		why := "refused with " + enumerate(needs) + ": " + likelyCause(os.DirFS("/"))
		return &Refusal{why: why, err: err}
	}
}

// explains reports whether the verifier's log has more than its statistics. A kernel that
// refuses a program before it reads the first instruction can write those alone.
func explains(log []string) bool {
	return slices.ContainsFunc(log, func(line string) bool { return !strings.HasPrefix(line, "processed ") })
}

// memlockNote is for kernels before 5.11, which charge maps and programs to RLIMIT_MEMLOCK.
func memlockNote() string {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil {
		return " to raise RLIMIT_MEMLOCK"
	}
	return fmt.Sprintf(" to raise RLIMIT_MEMLOCK above %d KiB", limit.Cur/1024)
}

// ExplainPerf is Explain for perf events, which kprobes and syscall tracepoints use.
// Debian's kernels know a stricter level of perf_event_paranoid, 3. CAP_PERFMON is not
// enough there.
func ExplainPerf(err error) error {
	needs, note := []Capability{BPF, Perfmon}, ""
	if level := perfEventParanoid(); level >= 3 {
		needs = append(needs, SysAdmin)
		note = fmt.Sprintf(", for kernel.perf_event_paranoid is %d", level)
	}
	return explain(err, needs, note)
}

func perfEventParanoid() int {
	text, err := os.ReadFile("/proc/sys/kernel/perf_event_paranoid")
	if err != nil {
		return 0
	}
	level, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return level
}

// inUserNamespace is false in the initial user namespace, which maps all users to themselves.
func inUserNamespace() bool {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	return !slices.Equal(strings.Fields(string(users)), []string{"0", "0", "4294967295"})
}

// NeedsOfMaps returns CAP_BPF. Without CAP_BPF, it returns everything that later steps
// would also need.
func NeedsOfMaps() []Capability {
	if held, err := Effective(); err == nil && held.Allows(BPF) {
		return []Capability{BPF}
	}
	return Required()
}

// Summarize says in one phrase why nothing works. Missing capabilities come first: with
// them missing, the other errors may be consequences.
func Summarize(errs []error) error {
	var lacking []Capability
	var first error
	for _, err := range errs {
		var r *Refusal
		if errors.As(err, &r) && len(r.lacking) > 0 {
			lacking = append(lacking, r.lacking...)
			first = cmp.Or(first, r.err)
		}
	}
	if len(lacking) == 0 {
		return errors.Join(errs...)
	}
	slices.Sort(lacking)
	return lack(first, slices.Compact(lacking), "")
}
