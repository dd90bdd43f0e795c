// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/config/confighttp"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
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

// Bounds of numbers.
const (
	mostBatch    = 4096
	mostQueue    = 1 << 20
	mostFailures = 1000
)

// Validate reports all faults at once.
func (c *Config) Validate() error {
	if !c.Enabled() {
		return nil
	}
	var errs []error
	fault := func(bad bool, format string, values ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, values...))
		}
	}
	u, err := url.Parse(c.Client.Endpoint)
	fault(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https",
		"endpoint: %q is no URL that begins with http:// or https://", c.Client.Endpoint)
	fault(c.Name == "", "name: the model needs a name")
	fault(c.Client.Timeout <= 0, "timeout: must be above 0")
	fault(c.Column < -1, "column: must be -1 or more")
	fault(math.IsNaN(c.Threshold) || math.IsInf(c.Threshold, 0), "threshold: must be a finite number")
	fault(c.MaxBatch < 1 || c.MaxBatch > mostBatch, "max_batch: must be from 1 to %d", mostBatch)
	fault(c.QueueSize < 1 || c.QueueSize > mostQueue, "queue_size: must be from 1 to %d", mostQueue)
	fault(c.Breaker.Failures < 1 || c.Breaker.Failures > mostFailures, "breaker::failures: must be from 1 to %d", mostFailures)
	fault(c.Breaker.Pause < time.Second, "breaker::pause: must be at least 1s")
	chosen, err := c.chosen()
	fault(err != nil, "features: %w", err)
	if err := c.Normalise.check(len(chosen)); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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

func (n *NormaliseConfig) check(features int) error {
	var errs []error
	if n.Form != formRaw && n.Form != formLog {
		errs = append(errs, fmt.Errorf("normalise::form: %q is neither raw nor log", n.Form))
	}
	for name, values := range map[string][]float64{"center": n.Center, "scale": n.Scale} {
		if len(values) != 0 && len(values) != features {
			errs = append(errs, fmt.Errorf("normalise::%s: has %d values for %d features", name, len(values), features))
		}
		if slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }) {
			errs = append(errs, fmt.Errorf("normalise::%s: must be finite numbers", name))
		}
	}
	if slices.Contains(n.Scale, 0) {
		errs = append(errs, errors.New("normalise::scale: must not be 0"))
	}
	if math.IsNaN(n.Absent) || math.IsInf(n.Absent, 0) {
		errs = append(errs, errors.New("normalise::absent: must be a finite number"))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
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
