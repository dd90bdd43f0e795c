// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"net/netip"
	"time"
)

const (
	// maxModels bounds the names of models in metrics, which clients can choose.
	maxModels = 256
	// roomy is how many of them anybody can add to. Beyond, a client that added its share gets
	// none, so that no client alone takes the names from all others.
	roomy       = maxModels * 3 / 4
	modelsShare = maxModels / 4
	// modelIdle is after how long without a call a name makes room for another.
	modelIdle = int64(time.Hour)
	// modelTidy is how often names are looked for that make room.
	modelTidy = int64(time.Minute)
)

// modelNames are the names of models as metrics show them, by the name as sent.
type modelNames struct {
	known map[string]*modelName
	// added counts the names by the client that made them known.
	added  map[netip.Addr]int
	tidied int64
}

type modelName struct {
	shown  string
	client netip.Addr
	// used is when the last call named it, in Unix nanoseconds.
	used int64
}

func newModelNames() modelNames {
	return modelNames{known: map[string]*modelName{}, added: map[netip.Addr]int{}}
}

// find returns a name that is known.
func (n *modelNames) find(sent []byte, now int64) (string, bool) {
	name, ok := n.known[string(sent)]
	if !ok {
		return "", false
	}
	name.used = max(name.used, now)
	return name.shown, true
}

// mayAdd reports whether there is room for a name that a client makes known.
func (n *modelNames) mayAdd(client netip.Addr, now int64) bool {
	if n.full(client) && now-n.tidied >= modelTidy {
		n.tidy(now)
	}
	return !n.full(client)
}

func (n *modelNames) full(client netip.Addr) bool {
	return len(n.known) >= maxModels || len(n.known) >= roomy && n.added[client] >= modelsShare
}

func (n *modelNames) add(sent []byte, shown string, client netip.Addr, now int64) {
	n.known[string(sent)] = &modelName{shown: shown, client: client, used: now}
	n.added[client]++
}

// tidy forgets the names that no call had for long.
func (n *modelNames) tidy(now int64) {
	n.tidied = now
	for sent, name := range n.known {
		if now-name.used < modelIdle {
			continue
		}
		delete(n.known, sent)
		if n.added[name.client]--; n.added[name.client] == 0 {
			delete(n.added, name.client)
		}
	}
}
