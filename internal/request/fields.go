// SPDX-License-Identifier: Apache-2.0

package request

// fields are those of a head. Most are never asked for, so they are read when somebody asks.
type fields struct {
	all []Field
	// unread is the text of fields that nobody asked for yet, and read appends them.
	unread []byte
	read   func(to []Field, text []byte) []Field
}

// Fields are those of the head, in their order. They are valid as long as the message is.
func (m *Message) Fields() []Field {
	if f := &m.fields; f.read != nil {
		f.all = f.read(f.all[:0], f.unread)
		f.read = nil
	}
	return m.fields.all
}

// SetFields replaces the fields.
func (m *Message) SetFields(all ...Field) {
	m.fields.all, m.fields.read = all, nil
	m.EventStream = IsEventStream(m.Field("content-type"))
}

// SetUnread replaces the fields by those that read appends of a text.
func (m *Message) SetUnread(text []byte, read func(to []Field, text []byte) []Field) {
	m.fields.unread, m.fields.read = text, read
}

// memory is what a message keeps for the next one.
type memory struct{ fields, trailers []Field }

func (m *Message) memory() memory { return memory{m.fields.all[:0], m.Trailers[:0]} }

func (m *Message) reuse(kept memory) { m.fields.all, m.Trailers = kept.fields, kept.trailers }

// IsEventStream reports whether a content type is that of a stream of events.
func IsEventStream(contentType []byte) bool {
	const eventStream = "text/event-stream"
	return len(contentType) >= len(eventStream) && EqualFold(contentType[:len(eventStream)], eventStream)
}
