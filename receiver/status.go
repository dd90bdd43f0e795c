// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// status reports the component's status.
type status struct {
	host component.Host
	// lacking is why something that was asked for will never be provided; nil if all is.
	lacking error
}

// Failed implements pipeline.Status.
func (s *status) Failed(err error) {
	if s.lacking == nil {
		componentstatus.ReportStatus(s.host, componentstatus.NewRecoverableErrorEvent(err))
	}
}

// Attached reports OK, or the permanent error, with the state of each hook as an attribute. A
// missing hook costs facts, it does not make the receiver fail. It implements
// pipeline.Status.
func (s *status) Attached(hooks []probe.HookState) {
	attributes := pcommon.NewMap()
	attributes.EnsureCapacity(len(hooks))
	for i := range hooks {
		name := "hook." + hooks[i].Name
		// Several programs can share a hook. A missing one decides.
		if hooks[i].Attached {
			if _, known := attributes.Get(name); known {
				continue
			}
		}
		attributes.PutStr(name, hookState(&hooks[i]))
	}
	as := componentstatus.WithAttributes(attributes)
	if s.lacking == nil {
		componentstatus.ReportStatus(s.host, componentstatus.NewEvent(componentstatus.StatusOK, as))
		return
	}
	componentstatus.ReportStatus(s.host,
		componentstatus.NewEvent(componentstatus.StatusPermanentError, componentstatus.WithError(s.lacking), as))
}

func hookState(h *probe.HookState) string {
	switch {
	case h.Attached:
		return "attached"
	case h.Err != nil:
		return clean.Text(h.Err.Error())
	default:
		return "off"
	}
}

// logHooks logs one line for each cause of missing hooks, then the number of attached ones.
func logHooks(logger *zap.Logger, hooks []probe.HookState) {
	type loss struct {
		names, gives []string
		err          error
	}
	attached := 0
	losses := make(map[string]*loss)
	var causes []string
	for i := range hooks {
		h := &hooks[i]
		if h.Attached {
			attached++
		}
		if h.Attached || h.Err == nil {
			continue
		}
		cause := probe.Reason(h.Err)
		known := losses[cause]
		if known == nil {
			known = &loss{err: h.Err}
			losses[cause] = known
			causes = append(causes, cause)
		}
		known.names = add(known.names, h.Name)
		known.gives = add(known.gives, h.Gives)
	}
	for _, cause := range causes {
		l := losses[cause]
		if len(l.names) > 1 {
			l.err = errors.New(cause)
		}
		logger.Warn("a hook of the kernel is missing", zap.String("hook", strings.Join(l.names, ", ")),
			zap.String("lost", strings.Join(l.gives, "; ")), zap.Error(l.err))
	}
	logger.Info("watching inbound TCP", zap.Int("hooks", attached))
}

// add appends one if it is not there yet.
func add(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}
