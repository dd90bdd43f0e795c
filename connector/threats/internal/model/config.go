// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"go.opentelemetry.io/collector/config/confighttp"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

// Config says which model scores vectors. Without a name, none does.
type Config struct {
	// Client has the endpoint, timeout, TLS, authentication and proxy.
	Client confighttp.ClientConfig `mapstructure:",squash"`
	// Name and Version are the server's. An empty version is the server's choice.
	Name    string `mapstructure:"name"`
	Version string `mapstructure:"version"`
	// Input and Output are tensors; empty is for a model that has only one.
	Input  string `mapstructure:"input"`
	Output string `mapstructure:"output"`
	// Column is where the score is, if the output has several values for each vector; -1 is for
	// an output with one.
	Column int `mapstructure:"column"`
	// Features are those of a vector, in the model's order; empty is all in the documented order.
	Features  []string        `mapstructure:"features"`
	Normalise NormaliseConfig `mapstructure:"normalise"`
	// Threshold is the lowest score that becomes a record.
	Threshold float64 `mapstructure:"threshold"`
	// MaxBatch is how many vectors a request has at most.
	MaxBatch int `mapstructure:"max_batch"`
	// QueueSize is how many vectors wait for the model.
	QueueSize int           `mapstructure:"queue_size"`
	Breaker   BreakerConfig `mapstructure:"breaker"`

	_ struct{}
}

// NormaliseConfig says what the model gets for a feature.
type NormaliseConfig struct {
	// Form is "raw" or "log".
	Form string `mapstructure:"form"`
	// Center and Scale have a value for each feature: the model gets (value - center) / scale.
	Center []float64 `mapstructure:"center"`
	Scale  []float64 `mapstructure:"scale"`
	// Absent is what the model gets for a feature that was not read.
	Absent float64 `mapstructure:"absent"`

	_ struct{}
}

// BreakerConfig says when requests pause.
type BreakerConfig struct {
	// Failures in a row begin a pause.
	Failures int `mapstructure:"failures"`
	// Pause is how long vectors are lost without a request.
	Pause time.Duration `mapstructure:"pause"`

	_ struct{}
}

// Values of NormaliseConfig.Form.
const (
	formRaw = "raw"
	formLog = "log"
)

// DefaultConfig has no model.
func DefaultConfig() Config {
	client := confighttp.NewDefaultClientConfig()
	client.Timeout = 2 * time.Second
	return Config{
		Client: client, Column: -1, Normalise: NormaliseConfig{Form: formLog, Absent: -1}, Threshold: 0.5,
		MaxBatch: 256, QueueSize: 4096, Breaker: BreakerConfig{Failures: 5, Pause: 30 * time.Second},
	}
}

// Enabled reports whether there is a model.
func (c *Config) Enabled() bool { return c.Name != "" || c.Client.Endpoint != "" }

// Bounds of the configuration, both ends allowed.
const (
	mostColumn           = 4095
	mostBatch            = 4096
	mostQueue            = 1 << 20
	mostFailures         = 1000
	minTimeout           = time.Millisecond
	minPause             = time.Second
	maxTimeout, maxPause = time.Hour, time.Hour
	// Numbers beyond are no 32-bit floating-point numbers.
	mostNumber = 1e38
)

// Validate notes every fault, with its key. Only a model that is on needs a name and an endpoint.
func (c *Config) Validate(f *fault.Faults) {
	const key = "model::"
	if c.Enabled() {
		c.validateServer(f, key)
	}
	fault.InRange(f, key+"timeout", c.Client.Timeout, minTimeout, maxTimeout)
	fault.InRange(f, key+"column", c.Column, -1, mostColumn)
	fault.InRange(f, key+"threshold", c.Threshold, -mostNumber, mostNumber)
	fault.InRange(f, key+"max_batch", c.MaxBatch, 1, mostBatch)
	fault.InRange(f, key+"queue_size", c.QueueSize, 1, mostQueue)
	fault.InRange(f, key+"breaker::failures", c.Breaker.Failures, 1, mostFailures)
	fault.InRange(f, key+"breaker::pause", c.Breaker.Pause, minPause, maxPause)
	chosen, err := c.chosen()
	if err != nil {
		f.Add(key+"features", "%w", err)
	}
	c.Normalise.validate(f, key+"normalise::", len(chosen))
}

func (c *Config) validateServer(f *fault.Faults, key string) {
	u, err := url.Parse(c.Client.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		f.Add(key+"endpoint", "%q is no URL that begins with http:// or https://", c.Client.Endpoint)
	}
	if c.Name == "" {
		f.Add(key+"name", "the model needs a name")
	}
}

// chosen are the features in their order.
func (c *Config) chosen() ([]vector.Feature, error) {
	var chosen []vector.Feature
	if len(c.Features) == 0 {
		for f := range vector.Size {
			chosen = append(chosen, vector.Feature(f))
		}
		return chosen, nil
	}
	var errs []error
	for _, name := range c.Features {
		f, known := vector.Find(name)
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("there is no feature %q", name))
		case slices.Contains(chosen, f):
			errs = append(errs, fmt.Errorf("%s is listed twice", name))
		}
		chosen = append(chosen, f)
	}
	return chosen, errors.Join(errs...)
}

func (n *NormaliseConfig) validate(f *fault.Faults, key string, features int) {
	fault.OneOf(f, key+"form", n.Form, formRaw, formLog)
	for _, l := range []struct {
		name   string
		values []float64
	}{{"center", n.Center}, {"scale", n.Scale}} {
		if len(l.values) != 0 && len(l.values) != features {
			f.Add(key+l.name, "has %d values for %d features", len(l.values), features)
		}
		for i, value := range l.values {
			fault.InRange(f, fault.At(key+l.name, i), value, -mostNumber, mostNumber)
		}
	}
	if i := slices.Index(n.Scale, 0); i >= 0 {
		f.Add(fault.At(key+"scale", i), "must not be 0")
	}
	fault.InRange(f, key+"absent", n.Absent, -mostNumber, mostNumber)
}

// String says what the model gets, for errors.
func (n *NormaliseConfig) String() string {
	text := n.Form
	if len(n.Center) != 0 {
		text += ", centered"
	}
	if len(n.Scale) != 0 {
		text += ", scaled"
	}
	return text
}
