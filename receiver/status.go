// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// reportHooks reports the status OK, with the state of each hook as an attribute: a
// missing hook takes a fact away, not the receiver.
func reportHooks(host component.Host, hooks []probe.HookState) {
	attributes := pcommon.NewMap()
	attributes.EnsureCapacity(len(hooks))
	for i := range hooks {
		name := "hook." + hooks[i].Name
		// Several programs can share a hook: one that is missing counts.
		if hooks[i].Attached {
			if _, known := attributes.Get(name); known {
				continue
			}
		}
		attributes.PutStr(name, hookState(&hooks[i]))
	}
	componentstatus.ReportStatus(host,
		componentstatus.NewEvent(componentstatus.StatusOK, componentstatus.WithAttributes(attributes)))
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

// logHooks says in one line each what this host can't give, and why; then that the
// rest works. Hooks that give the same thing share a line.
func logHooks(logger *zap.Logger, hooks []probe.HookState) {
	attached := 0
	told := make(map[string]bool)
	for i := range hooks {
		switch h := &hooks[i]; {
		case h.Attached:
			attached++
		case h.Err != nil && !told[h.Gives]:
			told[h.Gives] = true
			logger.Warn("a hook of the kernel is missing, the rest works",
				zap.String("hook", h.Name), zap.String("lost", h.Gives), zap.Error(h.Err))
		}
	}
	logger.Info("watching inbound TCP", zap.Int("hooks", attached))
}
