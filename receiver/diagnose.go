// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// Diagnose tries the hooks that a receiver with this configuration would use on this host, and
// every other way to the same facts. Nothing stays attached. The Error of the diagnosis lists
// what pipelines of both signals ask for and this host can't provide. Diagnose fails if the
// configuration is not valid or the maps can't be created.
func Diagnose(cfg *Config) (*probe.Diagnosis, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("the configuration is not valid: %w", err)
	}
	var f check.Faults
	sized := *cfg
	sized.Limits = cfg.Limits.sized(hostEnvironment().root)
	kernel := sized.probeConfig(&f)
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	diagnosis, err := probe.Diagnose(kernel)
	if err != nil || diagnosis.Error != "" {
		return diagnosis, err
	}
	var states []probe.HookState
	for i := range diagnosis.Features {
		if f := &diagnosis.Features[i]; f.Wanted {
			states = append(states, f.State())
		}
	}
	if err := cfg.lacking(true, true, states); err != nil {
		diagnosis.Error = err.Error()
	}
	return diagnosis, nil
}
