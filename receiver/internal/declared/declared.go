// SPDX-License-Identifier: Apache-2.0

// Package declared holds what metadata.yaml declares: the names of events, metrics and
// attributes, units, descriptions and toggles. generated.go is made of it.
package declared

// Event is a kind of log record.
type Event uint8

type event struct {
	name       string
	attributes []Attribute
}

// String is the name, the value of LogRecord.EventName.
func (e Event) String() string { return events[e].name }

// Attributes are those that records of the event can have, in the order of the declaration.
func (e Event) Attributes() []Attribute { return events[e].attributes }

// EventOf returns the event with a name; false if there is none.
func EventOf(name string) (Event, bool) {
	for e := range events {
		if events[e].name == name {
			return Event(e), true
		}
	}
	return 0, false
}

// Metric is one of the metrics.
type Metric uint8

// Definition is what the data of a metric says about it.
type Definition struct {
	Name, Description, Unit string
	Kind                    Kind
	// Attributes are those that data points can have.
	Attributes []Attribute
}

// Kind says how a metric adds up.
type Kind uint8

const (
	Counter Kind = iota
	UpDownCounter
	Histogram
)

// String is the name.
func (m Metric) String() string { return definitions[m].Name }

// Definition returns what is declared about a metric.
func (m Metric) Definition() *Definition { return &definitions[m] }

// Attribute is one of log records or data points.
type Attribute uint8

// Key is the name.
func (a Attribute) Key() string { return keys[a] }
