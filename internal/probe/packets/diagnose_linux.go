// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// Trial is the vantage point in our namespace, for a diagnosis. Its managers come from
// tc.NewTrial.
type Trial struct{ own *namespace }

// Try attaches the programs of one mode to one of the selected interfaces, until Close.
func Try(options *Options) (*Trial, hook.WayDiagnosis) {
	t := &Trial{own: newNamespace(options, options.OwnNetNS, options.OwnPorts, options.Logger)}
	err := t.own.start()
	var hooks []string
	for _, state := range t.own.hooks() {
		hooks = append(hooks, state.Name)
		switch {
		case err != nil:
		case state.Err != nil:
			err = state.Err
		case !state.Attached:
			err = errors.New("interfaces::include and ::exclude select no interface")
		}
	}
	return t, hook.NewWayDiagnosis(err, hooks...)
}

// Maps are those of the programs; nil without programs.
func (t *Trial) Maps() map[string]*ebpf.Map { return t.own.maps() }

// Close detaches the programs.
func (t *Trial) Close() error { return t.own.close() }
