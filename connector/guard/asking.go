// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/commands"
	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
)

// serve answers the tool until the context ends.
func (k *keeper) serve(ctx context.Context, server *control.Server) {
	if err := server.Serve(ctx, k.answer); err != nil {
		k.set.Logger.Error("the guard answers no questions any more", zap.Error(err))
	}
}

func (k *keeper) answer(q control.Question) control.Answer {
	k.allowed.Freshen(k.host.boot())
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return control.Answer{Error: "the guard is stopping"}
	}
	k.applyAllowed()
	now := k.host.boot()
	a, decisions := commands.Run(q, &commands.State{Table: k.table, Allowed: k.applied, Networks: k.allowed.Networks, Now: now})
	for i := range decisions {
		k.byHand.Add(&decisions[i])
		k.apply(&decisions[i], now)
	}
	return a
}
