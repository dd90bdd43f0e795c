// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// Values of Config.OnMissing.
const (
	onMissingReport = "report"
	onMissingFail   = "fail"
)

// need are the features that an event or a metric takes: all of these, of each one of
// several.
type need [][]string

// needs lists what each event and metric takes; a test holds it to metadata.yaml.
func needs() map[string]need {
	connections := []string{probe.FeatureConnection}
	packets := []string{probe.FeaturePacket}
	queues := []string{probe.FeatureQueue}
	overflows := []string{probe.FeatureOverflowSYN, probe.FeatureOverflowACK, probe.FeatureOverflowACK6}
	failures := append([]string{probe.FeatureResetSent, probe.FeaturePacket}, overflows...)
	return map[string]need{
		"tcp.server.connection.close":       {connections},
		"tcp.server.connection.open":        {connections},
		"tcp.server.connection.failed":      {failures},
		"tcp.server.packet":                 {packets},
		"tcp.forwarded.packets":             {packets},
		"tcp.server.accept.duration":        {connections, {probe.FeatureAccept}},
		"tcp.server.accept_queue.length":    {queues},
		"tcp.server.accept_queue.limit":     {queues},
		"tcp.server.accept_queue.overflows": {append(queues, overflows...)},
		"tcp.server.connection.active":      {connections, {probe.FeatureLive}},
		"tcp.server.connection.duration":    {connections},
		"tcp.server.connection.opened":      {connections},
		"tcp.server.drops":                  {{probe.FeatureDrop}},
		"tcp.server.fragments":              {packets},
		"tcp.server.handshake.duration":     {connections},
		"tcp.server.io":                     {connections},
		"tcp.server.malformed":              {packets},
		"tcp.server.packet.io":              {packets},
		"tcp.server.packets":                {packets},
		"tcp.server.resets":                 {{probe.FeatureResetReceived, probe.FeatureResetSent}},
		"tcp.server.retransmits":            {{probe.FeatureRetransmit, probe.FeatureSYNACKRetransmit}},
		"tcp.server.rtt":                    {connections},
		"tcp.server.syn_queue.length":       {queues},
	}
}

// asked tells which features a fact's configuration insists on. Connections are what the
// receiver is for. Everything else is enabled by default on kernels that can't give it,
// too, and counts as asked for when it is enabled by name.
func (n need) asked(fact toggle) need {
	switch {
	case !fact.enabled:
		return nil
	case fact.explicit:
		return n
	}
	return slices.DeleteFunc(slices.Clone(n), func(any []string) bool { return !slices.Contains(any, probe.FeatureConnection) })
}

// toggle is an event or a metric in the configuration.
type toggle struct {
	name string
	// enabled by default or by name; explicit is only the latter.
	enabled, explicit bool
}

// toggles lists a section of generated switches.
func toggles(section any) []toggle {
	value := reflect.ValueOf(section)
	all := make([]toggle, value.NumField())
	for i := range all {
		field := value.Field(i)
		all[i] = toggle{
			name:     value.Type().Field(i).Tag.Get("mapstructure"),
			enabled:  field.FieldByName("Enabled").Bool(),
			explicit: field.FieldByName("enabledSetByUser").Bool(),
		}
	}
	return all
}

// lacks is what was asked for and can't be given, by cause.
type lacks []*lack

// lack is one cause.
type lack struct {
	// names are the events and metrics that are lost, errs why.
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

// err is nil when nothing is lacking.
func (l lacks) err() error {
	errs := make([]error, len(l))
	for i := range l {
		errs[i] = l[i]
	}
	return errors.Join(errs...)
}

// lacking is why none of the hooks gives something that a configuration asks for in
// pipelines of these signals; nil when all is given.
func (c *Config) lacking(logs, metrics bool, hooks []probe.HookState) error {
	var all lacks
	var facts []toggle
	if logs {
		facts = append(facts, toggles(c.Events)...)
	}
	if metrics {
		facts = append(facts, toggles(c.Metrics)...)
	}
	table := needs()
	facts = append(facts, c.switched(logs)...)
	table[halfOpenKey] = need{{probe.FeaturePacket}}
	for _, fact := range facts {
		for _, any := range table[fact.name].asked(fact) {
			if errs := without(any, hooks); errs != nil {
				all.add(fact.name, errs)
				break
			}
		}
	}
	if len(all) == 0 && !slices.ContainsFunc(hooks, func(h probe.HookState) bool { return h.Attached || h.Err == nil }) {
		return errors.New("no hook of the kernel could be attached")
	}
	return all.err()
}

// halfOpenKey is a setting that asks for packets.
const halfOpenKey = "connections::half_open"

// switched are facts that other settings than their own ask for.
func (c *Config) switched(logs bool) []toggle {
	var facts []toggle
	if c.Connections.HalfOpen {
		facts = append(facts, toggle{name: halfOpenKey, enabled: true, explicit: true})
	}
	event := c.Events.TCPServerPacket
	if logs && event.Enabled && (c.Packets.SampleRate > 0 || len(c.Packets.Flags) > 0) {
		facts = append(facts, toggle{name: "tcp.server.packet", enabled: true, explicit: true})
	}
	return facts
}

// without says why none of several features is there; nil when one is.
func without(features []string, hooks []probe.HookState) []error {
	var errs []error
	for i := range hooks {
		h := &hooks[i]
		if !slices.Contains(features, h.Feature) {
			continue
		}
		// One that is off without an error waits for something to attach to.
		if h.Attached || h.Err == nil {
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

// add notes a fact that is lost, once.
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
			known.names = add(known.names, name)
			return
		}
	}
	*l = append(*l, &lack{[]string{name}, cause, errs})
}
