// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// metadata is what a server says about a model: GET v2/models/NAME.
type metadata struct {
	Versions []string `json:"versions"`
	Inputs   []tensor `json:"inputs"`
	Outputs  []tensor `json:"outputs"`
}

type tensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func (t *tensor) String() string {
	return fmt.Sprintf("%q %s %v", clean.String(t.Name), clean.String(t.Datatype), t.Shape)
}

func list(tensors []tensor) string {
	if len(tensors) == 0 {
		return "none"
	}
	all := make([]string, len(tensors))
	for i := range tensors {
		all[i] = tensors[i].String()
	}
	return strings.Join(all, ", ")
}

// Datatypes of the protocol that an input can have.
const (
	fp32 = "FP32"
	fp64 = "FP64"
)

// contract is how to ask this model.
type contract struct {
	input, output string
	datatype      string
	// single models take one vector for each request, with this shape.
	single []int64
	// columns is how many values the output has for each vector; 0 if the server does not say.
	columns int64
}

// MismatchError says that a model takes other vectors than the configuration makes.
type MismatchError struct {
	model, server, ours string
	err                 error
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("model %q does not fit: %v; the server has %s; features and normalise make %s", e.model, e.err, e.server, e.ours)
}

func (e *MismatchError) Unwrap() error { return e.err }

// agree compares a model with the configuration.
func (c *Config) agree(text []byte) (*contract, error) {
	var m metadata
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read what the server says about the model: %w", err)
	}
	chosen, err := c.chosen()
	if err != nil {
		return nil, err
	}
	n := int64(len(chosen))
	var k contract
	err = errors.Join(c.agreeVersion(&m), c.agreeInput(&m, n, &k), c.agreeOutput(&m, &k))
	if err == nil {
		return &k, nil
	}
	names := make([]string, n)
	for i, f := range chosen {
		names[i] = f.String()
	}
	return nil, &MismatchError{
		model:  c.Name,
		server: fmt.Sprintf("inputs %s and outputs %s", list(m.Inputs), list(m.Outputs)),
		ours: fmt.Sprintf("input %q FP32 or FP64, [-1 %d] or [%d], of the %d features %s (%v)",
			c.Input, n, n, n, strings.Join(names, ", "), &c.Normalise),
		err: err,
	}
}

func (c *Config) agreeVersion(m *metadata) error {
	if c.Version != "" && len(m.Versions) > 0 && !slices.Contains(m.Versions, c.Version) {
		return fmt.Errorf("there is no version %q", c.Version)
	}
	return nil
}

func (c *Config) agreeInput(m *metadata, n int64, k *contract) error {
	in, err := pick(m.Inputs, c.Input, "input")
	if err != nil {
		return err
	}
	k.input, k.datatype = in.Name, in.Datatype
	switch {
	case len(m.Inputs) > 1:
		return errors.New("it wants more than one input")
	case in.Datatype != fp32 && in.Datatype != fp64:
		return errors.New("the input's datatype is neither FP32 nor FP64")
	case slices.Equal(in.Shape, []int64{-1, n}):
		return nil
	case slices.Equal(in.Shape, []int64{n}), slices.Equal(in.Shape, []int64{1, n}):
		k.single = in.Shape
		return nil
	}
	return errors.New("the input has another shape")
}

func (c *Config) agreeOutput(m *metadata, k *contract) error {
	out, err := pick(m.Outputs, c.Output, "output")
	if err != nil {
		return err
	}
	k.output, k.columns = out.Name, 0
	switch {
	case len(out.Shape) == 1 && k.single == nil:
		k.columns = 1
	case len(out.Shape) == 1:
		k.columns = max(0, out.Shape[0])
	case len(out.Shape) == 2:
		k.columns = max(0, out.Shape[1])
	default:
		return errors.New("the output has another shape")
	}
	switch {
	case c.Column < 0 && k.columns > 1:
		return fmt.Errorf("the output has %d values for each vector, so column must say which is the score", k.columns)
	case k.columns > 0 && int64(c.Column) >= k.columns:
		return fmt.Errorf("the output has no column %d", c.Column)
	}
	return nil
}

// pick finds a tensor by its name, or the only one.
func pick(tensors []tensor, name, kind string) (*tensor, error) {
	if name == "" && len(tensors) == 1 {
		return &tensors[0], nil
	}
	for i := range tensors {
		if tensors[i].Name == name {
			return &tensors[i], nil
		}
	}
	if name == "" {
		return nil, fmt.Errorf("it has %d %ss, so %s must say which", len(tensors), kind, kind)
	}
	return nil, fmt.Errorf("there is no %s %q", kind, name)
}
