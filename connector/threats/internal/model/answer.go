// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// failure is why a request gave no scores.
type failure struct {
	outcome Outcome
	err     error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

func fail(o Outcome, format string, values ...any) error {
	return &failure{o, fmt.Errorf(format, values...)}
}

// answer is the body of an answer. With an error it has no outputs.
type answer struct {
	Error   any `json:"error"`
	Outputs []struct {
		Name  string          `json:"name"`
		Shape []int64         `json:"shape"`
		Data  json.RawMessage `json:"data"`
	} `json:"outputs"`
}

// mostErrorText bounds what is kept of a server's words.
const mostErrorText = 300

func words(text string) string {
	if len(text) > mostErrorText {
		text = text[:mostErrorText] + "…"
	}
	return clean.String(text)
}

// score is that of a vector, or says why there is none.
type score struct {
	value   float64
	outcome Outcome
}

// scores reads the scores of n vectors. The protocol permits data that is flat or nested.
func (k *contract) scores(body []byte, n, column int) ([]score, error) {
	var a answer
	if err := json.Unmarshal(quoteNonNumbers(body), &a); err != nil {
		return nil, fail(InvalidAnswer, "the answer is no JSON of the protocol: %w", err)
	}
	if a.Error != nil {
		return nil, fail(ErrorAnswer, "the model answered: %s", words(fmt.Sprint(a.Error)))
	}
	for i := range a.Outputs {
		if o := &a.Outputs[i]; o.Name == k.output {
			values, err := flatten(o.Data)
			if err != nil {
				return nil, err
			}
			return k.choose(values, o.Shape, n, column)
		}
	}
	return nil, fail(InvalidAnswer, "the answer has no output %q", k.output)
}

// choose takes the column of each vector, after counting.
func (k *contract) choose(values []score, shape []int64, n, column int) ([]score, error) {
	columns := len(values) / n
	wrong := len(values) == 0 || len(values)%n != 0 || product(shape) != int64(len(values)) ||
		k.single == nil && shape[0] != int64(n) || k.columns > 0 && int64(columns) != k.columns
	if !wrong && column < 0 {
		column, wrong = 0, columns != 1
	}
	if wrong || column >= columns {
		return nil, fail(WrongCount, "the answer has %d values and shape %v for %d vectors", len(values), shape, n)
	}
	chosen := make([]score, n)
	for i := range chosen {
		chosen[i] = values[i*columns+column]
	}
	return chosen, nil
}

// product is the number of values of a shape; -1 if it is none.
func product(shape []int64) int64 {
	total := int64(1)
	for _, n := range shape {
		if n < 0 || n > 0 && total > math.MaxInt64/n {
			return -1
		}
		total *= n
	}
	if len(shape) == 0 {
		return -1
	}
	return total
}

// flatten reads the values of arrays of any depth.
func flatten(data json.RawMessage) ([]score, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var values []score
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, fail(InvalidAnswer, "read the values: %w", err)
		}
		switch token := token.(type) {
		case json.Number:
			values = append(values, number(string(token)))
		case nil:
			values = append(values, score{outcome: Null})
		case json.Delim:
			if token == '{' {
				return nil, fail(InvalidAnswer, "the answer has an object among its values")
			}
		case string:
			if !isNonNumber(token) {
				return nil, fail(InvalidAnswer, "the answer has the string %q among its values", words(token))
			}
			values = append(values, score{outcome: NaN})
		default:
			return nil, fail(InvalidAnswer, "the answer has the value %v", token)
		}
	}
}

func number(text string) score {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return score{outcome: NaN}
	}
	return score{value: value}
}

// nonNumbers are what some servers write as numbers, although JSON has no such thing.
var nonNumbers = []string{"NaN", "Infinity", "-Infinity"}

func isNonNumber(text string) bool {
	for _, word := range nonNumbers {
		if text == word {
			return true
		}
	}
	return false
}

// quoteNonNumbers makes strings of them, so that one score that is none costs no other one.
func quoteNonNumbers(body []byte) []byte {
	if !bytes.Contains(body, []byte("NaN")) && !bytes.Contains(body, []byte("Infinity")) {
		return body
	}
	quoted := make([]byte, 0, len(body)+64)
	inside := false
	for i := 0; i < len(body); i++ {
		c := body[i]
		if inside && c == '\\' && i+1 < len(body) {
			quoted = append(quoted, c, body[i+1])
			i++
			continue
		}
		if c == '"' {
			inside = !inside
		}
		if word := nonNumberAt(body[i:]); !inside && word != "" {
			quoted = append(quoted, '"')
			quoted = append(quoted, word...)
			quoted = append(quoted, '"')
			i += len(word) - 1
			continue
		}
		quoted = append(quoted, c)
	}
	return quoted
}

func nonNumberAt(text []byte) string {
	for _, word := range nonNumbers {
		if bytes.HasPrefix(text, []byte(word)) {
			return word
		}
	}
	return ""
}

// appendString appends a JSON string.
func appendString(to []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		return append(to, `""`...) // a string can always be written
	}
	return append(to, quoted...)
}
