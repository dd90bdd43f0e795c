// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Bodies says which bodies records have, and in which form.
type Bodies struct {
	// Ports are those of servers.
	Ports *Ports
	// Request and Answer are how many bytes on the wire are used; 0 is none.
	Request, Answer int
	// Types selects content types.
	Types *payload.Selection
	Form  payload.Form
	// MaxDecoded and MaxRatio bound what content encodings expand to.
	MaxDecoded, MaxRatio int
}

// Body is the exported copy of a body. Secrets are redacted.
type Body struct {
	// Form is that of Content.
	Form    payload.Form
	Content []byte
	// Binary is set if the form is Raw and the content is no text. If the form is Structured,
	// the content is valid JSON, and Build makes the form.
	Binary bool
	// Cut is set if the copy lacks bytes.
	Cut bool
	// Encoding are the content encodings that the copy still has.
	Encoding string
	// Problem is why the form is another one than was asked for.
	Problem payload.Problem
	// Replaced counts characters that XML and UTF-8 do not have.
	Replaced int

	forms *payload.Transformer
}

// Build gives the structured form to a builder.
func (b *Body) Build(to payload.Builder) {
	notes, _ := b.forms.Structured(b.Content, false, to)
	b.Replaced = notes.Replaced
}

// maxValues and maxMembers bound structured forms: the memory of a record, and the time that a
// map of pdata takes, which compares each key with those before it.
const maxValues, maxMembers = 4096, 512

// bodies makes copies of bodies. Its memory is reused.
type bodies struct {
	*Bodies
	decoder payload.Decoder
	forms   payload.Transformer
	// request and answer are the copies of the present view.
	request, answer Body
}

func newBodies(options *Bodies) *bodies {
	if options == nil {
		return nil
	}
	b := &bodies{Bodies: options, forms: payload.Transformer{Limits: payload.DefaultLimits()}}
	b.forms.Values, b.forms.Members = maxValues, maxMembers
	b.decoder = payload.Decoder{MaxBytes: options.MaxDecoded, MaxRatio: options.MaxRatio}
	return b
}

// putBodies adds the bodies that are selected.
func (v *Viewer) putBodies(view *View) {
	b := v.bodies
	if b == nil || !b.Ports[view.Exchange.Server.Port()] {
		return
	}
	if v.copyBody(&b.request, &view.Request, b.Request, privacy.BodyRequest) {
		view.RequestBody = &b.request
	}
	if v.copyBody(&b.answer, &view.Answer, b.Answer, privacy.BodyResponse) {
		view.AnswerBody = &b.answer
	}
}

// copyBody makes the exported copy of a message's body, and reports whether there is one.
func (v *Viewer) copyBody(body *Body, m *request.Message, most int, where string) bool {
	b, contentType := v.bodies, m.Field("content-type")
	if len(m.Body) == 0 || most == 0 || !b.Types.Selects(contentType) {
		return false
	}
	*body = Body{}
	raw, cut := m.Body, m.BodyCut || m.BodyBytes > int64(len(m.Body))
	if len(raw) > most {
		// Calls to language models need more than records have.
		raw, cut = raw[:most], true
	}
	decoded := b.decoder.Decode(raw, cut, payload.Encoding(m))
	body.Cut, body.Encoding, body.Problem = decoded.Cut, decoded.Remains, decoded.Problem
	redact := v.options.Redact
	if body.Encoding != "" {
		// It is the value of a header field, whoever sent it.
		body.Encoding = string(v.header("content-encoding", []byte(body.Encoding)))
	}
	if body.Encoding != "" && redact.Withholds(where, &v.redacted) {
		body.Content, body.Cut = []byte(privacy.Redacted), true
		return true
	}
	isJSON := body.Encoding == "" && payload.IsJSON(contentType)
	content := v.add(func(to []byte) []byte {
		if isJSON {
			return redact.JSON(to, decoded.Content, body.Cut, where, &v.redacted)
		}
		return redact.Body(to, decoded.Content, body.Cut, where, &v.redacted)
	})
	// REDACTED is longer than a short secret.
	if limit := max(b.MaxDecoded, most); len(content) > limit {
		content, body.Cut = content[:limit], true
	}
	v.shape(body, content, isJSON)
	return true
}

// shape gives redacted content the form that was asked for, or else Raw.
func (v *Viewer) shape(body *Body, content []byte, isJSON bool) {
	b := v.bodies
	problem := payload.ProblemNone
	switch {
	case b.Form == payload.Hex:
		body.Form = payload.Hex
		body.Content = v.add(func(to []byte) []byte { return payload.AppendHex(to, content) })
		return
	case !isJSON:
	case b.Form == payload.XML:
		var notes payload.Notes
		body.Content = v.add(func(to []byte) []byte {
			to, notes, problem = b.forms.AppendXML(to, content, body.Cut)
			return to
		})
		if problem == payload.ProblemNone {
			body.Form, body.Replaced = payload.XML, notes.Replaced
			return
		}
	case b.Form == payload.Structured:
		if problem = b.forms.Check(content, body.Cut); problem == payload.ProblemNone {
			body.Form, body.Content, body.forms = payload.Structured, content, &b.forms
			return
		}
	}
	if body.Problem == payload.ProblemNone {
		body.Problem = problem
	}
	text, isText := payload.Text(content, body.Cut)
	body.Form, body.Content, body.Binary = payload.Raw, text, !isText
}
