// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// normaliser makes the numbers that a model gets of a vector.
type normaliser struct {
	features      []vector.Feature
	log           bool
	center, scale []float64
	absent        float64
}

func (c *Config) normaliser() (*normaliser, error) {
	chosen, err := c.chosen()
	if err != nil {
		return nil, err
	}
	n := &c.Normalise
	return &normaliser{chosen, n.Form == formLog, n.Center, n.Scale, n.Absent}, nil
}

// apply fills into. It reports false if a number is not finite.
func (n *normaliser) apply(v *vector.Vector, into []float64) bool {
	for i, f := range n.features {
		value := v[f]
		if math.IsNaN(value) {
			into[i] = n.absent
			continue
		}
		if n.log {
			value = f.Scale(value)
		}
		if n.center != nil {
			value -= n.center[i]
		}
		if n.scale != nil {
			value /= n.scale[i]
		}
		if math.Abs(value) > math.MaxFloat32 || math.IsNaN(value) {
			return false
		}
		into[i] = value
	}
	return true
}

// request appends the body of an inference request for vectors, one after the other.
func (k *contract) request(to []byte, vectors [][]float64) []byte {
	to = append(to, `{"inputs":[{"name":`...)
	to = appendString(to, k.input)
	to = append(to, `,"datatype":"`...)
	to = append(to, k.datatype...)
	to = append(to, `","shape":[`...)
	shape := k.single
	if shape == nil {
		shape = []int64{int64(len(vectors)), int64(len(vectors[0]))}
	}
	for i, n := range shape {
		to = comma(to, i)
		to = strconv.AppendInt(to, n, 10)
	}
	to = append(to, `],"data":[`...)
	bits, n := 32, 0
	if k.datatype == fp64 {
		bits = 64
	}
	for _, v := range vectors {
		for _, value := range v {
			to = comma(to, n)
			to = strconv.AppendFloat(to, value, 'g', -1, bits)
			n++
		}
	}
	to = append(to, `]}],"outputs":[{"name":`...)
	to = appendString(to, k.output)
	return append(to, `}]}`...)
}

func comma(to []byte, i int) []byte {
	if i > 0 {
		to = append(to, ',')
	}
	return to
}
