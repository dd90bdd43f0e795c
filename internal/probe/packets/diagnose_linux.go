// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"errors"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// Trial is the vantage point in our namespace, for a diagnosis. Its managers come from
// tc.NewTrial.
type Trial struct {
	own *namespace
	err error
}

// Try attaches the programs of one mode, and those of the companions, to one of the selected
// interfaces, until Close.
func Try(options *Options) *Trial {
	t := &Trial{own: newNamespace(options, options.OwnNetNS, options.OwnPorts, options.Logger)}
	t.err = t.own.start()
	return t
}

// Way describes the programs of a feature: ours, or a companion's.
func (t *Trial) Way(feature string) hook.WayDiagnosis {
	err := t.err
	var hooks []string
	for _, state := range t.own.hooks() {
		if state.Feature != feature {
			continue
		}
		// A companion's states say whose they are; the hook is the same.
		hooks = append(hooks, strings.TrimSuffix(state.Name, "/"+feature))
		switch {
		case err != nil:
		case state.Err != nil:
			err = state.Err
		case !state.Attached:
			err = errors.New("interfaces::include and ::exclude select no interface")
		}
	}
	return hook.NewWayDiagnosis(err, hooks...)
}

// Maps are those of the programs; nil without programs.
func (t *Trial) Maps() map[string]*ebpf.Map { return t.own.maps() }

// GuestMaps are those of the companions' programs.
func (t *Trial) GuestMaps() map[string]*ebpf.Map { return t.own.guestMaps() }

// Close detaches the programs.
func (t *Trial) Close() error { return t.own.close() }
