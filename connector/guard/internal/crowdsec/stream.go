// SPDX-License-Identifier: Apache-2.0

package crowdsec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds of an answer, in bytes: of all of it, and of one decision.
const (
	maxAnswer   = 1 << 30
	maxDecision = 256 << 10
)

var (
	errLong      = errors.New("the answer is too long")
	errLongValue = errors.New("a value in the answer is too long")
	errForm      = errors.New("the answer has another form than documented")
)

// meter is a reader that fails when one value, or all of it, is too long. So no answer makes the
// decoder hold more than one value.
type meter struct {
	from         io.Reader
	value, total int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.total <= 0 {
		return 0, errLong
	}
	if m.value <= 0 {
		return 0, errLongValue
	}
	n, err := m.from.Read(p)
	m.value -= int64(n)
	m.total -= int64(n)
	return n, err
}

// answer reads an answer value by value.
type answer struct {
	meter   *meter
	decoder *json.Decoder
}

func newAnswer(from io.Reader) *answer {
	m := &meter{from: from, total: maxAnswer}
	return &answer{m, json.NewDecoder(m)}
}

// read hands over each decision. It fails unless the answer is whole.
func (a *answer) read(added, deleted func(*decision), malformed func()) error {
	if err := a.expect(json.Delim('{')); err != nil {
		return err
	}
	for a.more() {
		name, err := a.decoder.Token()
		if err != nil {
			return err
		}
		switch name {
		case "new":
			err = a.list(added, malformed)
		case "deleted":
			err = a.list(deleted, malformed)
		default:
			var skipped json.RawMessage
			err = a.decoder.Decode(&skipped)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", name, err)
		}
	}
	return a.expect(json.Delim('}'))
}

// more tells whether the object or array goes on, and begins a value.
func (a *answer) more() bool {
	a.meter.value = maxDecision
	return a.decoder.More()
}

func (a *answer) expect(want json.Delim) error {
	a.meter.value = maxDecision
	token, err := a.decoder.Token()
	if err != nil {
		return err
	}
	if token != want {
		return errForm
	}
	return nil
}

// list reads an array of decisions, or null.
func (a *answer) list(each func(*decision), malformed func()) error {
	token, err := a.decoder.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return errForm
	}
	for a.more() {
		var d decision
		err := a.decoder.Decode(&d)
		var wrongType *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrongType):
			malformed()
		case err != nil:
			return err
		default:
			each(&d)
		}
	}
	return a.expect(json.Delim(']'))
}
