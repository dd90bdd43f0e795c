// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"reflect"
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/needs"
)

// Values of Config.OnMissing.
const (
	onMissingReport = "report"
	onMissingFail   = "fail"
)

// lacking explains why none of the hooks provides something that a configuration asks for in
// pipelines of these signals; nil if everything is provided.
func (c *Config) lacking(logs, metrics bool, hooks []probe.HookState) error {
	var asked []needs.Asked
	if logs {
		switches := toggles(c.Events)
		for event := range declared.Events {
			asked = append(asked, switches[event.String()].asks(event.String(), needs.OfEvent(event)))
		}
	}
	if metrics {
		switches := toggles(c.Metrics)
		for metric := range declared.Metrics {
			asked = append(asked, switches[metric.String()].asks(metric.String(), needs.OfMetric(metric)))
		}
	}
	return needs.Lacking(append(asked, c.askedElsewhere(logs)...), hooks)
}

// askedElsewhere is what other settings than the toggles ask for.
func (c *Config) askedElsewhere(logs bool) []needs.Asked {
	var asked []needs.Asked
	if c.Connections.HalfOpen {
		asked = append(asked, needs.Asked{Name: "connections::half_open", Need: needs.OfPackets()})
	}
	if c.Sources.Enabled {
		asked = append(asked, needs.Asked{Name: "sources::enabled", Need: needs.OfPackets()})
	}
	if c.Inspect.On() {
		asked = append(asked, needs.Asked{Name: c.Inspect.Key(), Need: needs.OfInspection()})
	}
	if logs && c.Connections.UpdateInterval > 0 {
		asked = append(asked, needs.Asked{Name: "connections::update_interval", Need: needs.OfLive()})
	}
	selected := c.Packets.SampleRate > 0 || len(c.Packets.Flags) > 0
	if logs && selected && c.Events.TCPServerPacket.Enabled {
		asked = append(asked, needs.Asked{Name: declared.EventPacket.String(), Need: needs.OfPackets()})
	}
	return asked
}

// toggle switches an event or a metric.
type toggle struct {
	// enabled by default or by name; explicit is only the latter.
	enabled, explicit bool
}

// toggles reads a section of mdatagen's switches by reflection, because they do not export
// whether the user set them.
func toggles(section any) map[string]toggle {
	value := reflect.ValueOf(section)
	all := make(map[string]toggle, value.NumField())
	for i := range value.NumField() {
		field := value.Field(i)
		all[value.Type().Field(i).Tag.Get("mapstructure")] = toggle{
			enabled:  field.FieldByName("Enabled").Bool(),
			explicit: field.FieldByName("enabledSetByUser").Bool(),
		}
	}
	return all
}

// asks returns what the toggle insists on. Connections are what the receiver is for. Everything
// else is enabled by default even if the kernel can't provide it. So it counts as asked for
// only if the user enables it by name.
func (t toggle) asks(name string, need needs.Need) needs.Asked {
	switch {
	case !t.enabled:
		need = nil
	case !t.explicit:
		need = slices.DeleteFunc(slices.Clone(need), func(features []string) bool {
			return !slices.Contains(features, probe.FeatureConnection)
		})
	}
	return needs.Asked{Name: name, Need: need}
}
