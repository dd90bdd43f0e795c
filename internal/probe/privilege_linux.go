// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

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

// EffectiveCapabilities are those that the kernel checks this thread for.
func EffectiveCapabilities() (Capabilities, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read this process's capabilities: %w", err)
	}
	return Capabilities(data[0].Effective) | Capabilities(data[1].Effective)<<32, nil
}

// refusal is what the kernel did not permit, and why.
type refusal struct {
	why string
	// lacking are the capabilities that would help; none when all are there.
	lacking []Capability
	// outside: what is refused here would be allowed outside of a user namespace.
	outside bool
	err     error
}

// Error has the cause alone: what a refusal makes of programs and maps on the way,
// such as the verifier's log, leads astray.
func (r *refusal) Error() string {
	var errno unix.Errno
	if errors.As(r.err, &errno) {
		return r.why + ": " + errno.Error()
	}
	return r.why + ": " + r.err.Error()
}

func (r *refusal) Unwrap() error { return r.err }

func (r *refusal) mendable() bool { return len(r.lacking) > 0 || r.outside }

// lack is a refusal for want of capabilities; note says what for where that is not
// plain.
func lack(err error, lacking []Capability, note string) *refusal {
	verb := "is"
	if len(lacking) > 1 {
		verb = "are"
	}
	return &refusal{why: fmt.Sprintf("%s %s missing%s", enumerate(lacking), verb, note), lacking: lacking, err: err}
}

// hint says why the kernel may have refused what needs certain capabilities, CAP_BPF
// and CAP_PERFMON if none is given: which of them this process lacks or, when it has
// them, what else can forbid it. An error that is no refusal, or is explained already,
// stays as it is.
func hint(err error, needs ...Capability) error {
	if len(needs) == 0 {
		needs = []Capability{CapBPF, CapPerfmon}
	}
	return explain(err, needs, "")
}

func explain(err error, needs []Capability, note string) error {
	var explained *refusal
	if short := explainShortage(err); short != nil {
		return short
	}
	if !errors.Is(err, os.ErrPermission) || errors.As(err, &explained) {
		return err
	}
	held, capErr := EffectiveCapabilities()
	if capErr != nil {
		return fmt.Errorf("needs %s: %w", enumerate(needs), err)
	}
	if lacking := held.lacking(needs); len(lacking) > 0 {
		return lack(err, lacking, note)
	}
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier) && len(verifier.Log) > 0:
		return err // it speaks for itself
	case !held.Has(CapSysResource) && rlimit.RemoveMemlock() != nil:
		return lack(err, []Capability{CapSysResource}, memlockNote())
	case inUserNamespace():
		return &refusal{why: "the capabilities of a user namespace do not count", outside: true, err: err}
	default:
		why := "refused with " + enumerate(needs) + ": " + likelyCause(os.DirFS("/"))
		return &refusal{why: why, err: err}
	}
}

// hint is for what attaching a hook of a kind needs.
func (k hookKind) hint(err error) error {
	if k == hookKprobe {
		return hintPerf(err)
	}
	return hint(err)
}

// memlockNote is for kernels before 5.11, which charge maps and programs to a limit.
func memlockNote() string {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil {
		return " to raise RLIMIT_MEMLOCK"
	}
	return fmt.Sprintf(" to raise RLIMIT_MEMLOCK above %d KiB", limit.Cur/1024)
}

// hintPerf is hint for perf events, which carry kprobes and syscall tracepoints.
// Debian's kernels have a stricter level of perf_event_paranoid than Linux, 3, which
// CAP_PERFMON does not pass.
func hintPerf(err error) error {
	needs, note := []Capability{CapBPF, CapPerfmon}, ""
	if level := perfEventParanoid(); level >= 3 {
		needs = append(needs, CapSysAdmin)
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

// inUserNamespace: the initial one maps all users to themselves.
func inUserNamespace() bool {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	return !slices.Equal(strings.Fields(string(users)), []string{"0", "0", "4294967295"})
}

// needsOfMaps is CAP_BPF. Who lacks that is told of all that the next steps would
// ask for.
func needsOfMaps() []Capability {
	if held, err := EffectiveCapabilities(); err == nil && held.allows(CapBPF) {
		return []Capability{CapBPF}
	}
	return required()
}

// summarize makes one phrase of why nothing works: the capabilities that are missing,
// if any, for then nothing else is known for sure.
func summarize(errs []error) error {
	var lacking []Capability
	var first error
	for _, err := range errs {
		var r *refusal
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
