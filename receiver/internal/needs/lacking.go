// SPDX-License-Identifier: Apache-2.0

package needs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// Asked is something that a configuration insists on: the name of an event, a metric or a
// setting, and what it needs.
type Asked struct {
	Name string
	Need Need
}

// Lacking explains why none of the hooks provides something that was asked for; nil if
// everything is provided.
func Lacking(asked []Asked, hooks []probe.HookState) error {
	var all lacks
	for _, fact := range asked {
		for _, features := range fact.Need {
			if errs := without(features, hooks); errs != nil {
				all.add(fact.Name, errs)
				break
			}
		}
	}
	if len(all) == 0 && !slices.ContainsFunc(hooks, usable) {
		return errors.New("no hook of the kernel could be attached")
	}
	return all.err()
}

// usable includes hooks that are off without an error: they wait for something to attach to.
func usable(h probe.HookState) bool { return h.Attached || h.Err == nil }

// without says why none of several features is there; nil if one is.
func without(features []string, hooks []probe.HookState) []error {
	var errs []error
	for i := range hooks {
		h := &hooks[i]
		if !slices.Contains(features, h.Feature) {
			continue
		}
		if usable(*h) {
			return nil
		}
		errs = append(errs, h.Err)
	}
	switch {
	case errs != nil:
		return errs
	case slices.Contains(features, probe.FeaturePacket):
		return []error{probe.LeftOut("tc::mode is off")}
	default:
		return []error{probe.LeftOut("the configuration leaves it out")}
	}
}

// lacks is what was asked for and is not provided, by cause.
type lacks []*lack

// lack is one cause.
type lack struct {
	// names are the events, metrics and settings that are lost.
	names []string
	cause string
	errs  []error
}

// maxNames bounds those that an error lists.
const maxNames = 4

func (l *lack) Error() string {
	names := l.names
	more := ""
	if len(names) > maxNames {
		more = fmt.Sprintf(" and %d more", len(names)-maxNames)
		names = names[:maxNames]
	}
	return fmt.Sprintf("can't give %s%s: %s", strings.Join(names, ", "), more, l.cause)
}

func (l *lack) Unwrap() []error { return l.errs }

// add notes something that is lost, once.
func (l *lacks) add(name string, errs []error) {
	var causes []string
	for _, err := range errs {
		if cause := probe.Reason(err); !slices.Contains(causes, cause) {
			causes = append(causes, cause)
		}
	}
	cause := strings.Join(causes, "; ")
	for _, known := range *l {
		if known.cause == cause {
			if !slices.Contains(known.names, name) {
				known.names = append(known.names, name)
			}
			return
		}
	}
	*l = append(*l, &lack{[]string{name}, cause, errs})
}

// err is nil if nothing is lacking.
func (l lacks) err() error {
	errs := make([]error, len(l))
	for i := range l {
		errs[i] = l[i]
	}
	return errors.Join(errs...)
}
