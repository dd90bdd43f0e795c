// SPDX-License-Identifier: Apache-2.0

// Package page serves the live model to browsers: a page without anything from elsewhere, and one
// snapshot a second for each viewer, as server-sent events.
package page

import (
	"context"
	"embed"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
)

//go:embed assets
var assets embed.FS

// interval is the time between two snapshots.
const interval = time.Second

// soonest is the time between two snapshots that viewers who come at any time can cause.
const soonest = 200 * time.Millisecond

// patience is how long a viewer may take for a snapshot. One that takes longer is cut off.
const patience = 10 * time.Second

// Settings are those of a page.
type Settings struct {
	Model *model.Model
	// Hosts are names under which the page may be asked for, beside the endpoint's own.
	Hosts    []string
	Endpoint string
	// MaxViewers is how many may look at one time.
	MaxViewers int
}

// Page is an http.Handler. Run gives it snapshots.
type Page struct {
	settings Settings
	mux      *http.ServeMux

	mu      sync.Mutex
	viewers map[*viewer]struct{}
	// came tells Run of a viewer.
	came chan struct{}
}

// viewer is one that looks. It gets the newest snapshot, and misses those that it is too slow for.
type viewer struct{ next chan []byte }

// New returns a page.
func New(s Settings) *Page {
	p := &Page{settings: s, mux: http.NewServeMux(), viewers: make(map[*viewer]struct{}), came: make(chan struct{}, 1)}
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	p.mux.Handle("GET /", http.FileServerFS(files))
	p.mux.HandleFunc("GET /snapshots", p.stream)
	return p
}

// Run makes a snapshot each second while somebody looks, until the context ends.
func (p *Page) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last []byte
	var made time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.came:
		case <-tick.C:
		}
		if !p.looking() {
			continue
		}
		if time.Since(made) >= soonest {
			last, made = encode(p.settings.Model.Snapshot()), time.Now()
		}
		p.give(last)
	}
}

func (p *Page) looking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.viewers) > 0
}

// give never waits: a viewer that has not taken the last snapshot gets the new one in its place.
func (p *Page) give(snapshot []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for v := range p.viewers {
		select {
		case <-v.next:
		default:
		}
		v.next <- snapshot
	}
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// Nothing from elsewhere, nothing inline, and in nobody's frame.
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// A page of somebody else's can't read this one, but could keep this host busy.
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		http.Error(w, "this page is for no other page", http.StatusForbidden)
		return
	}
	if !p.knows(r.Host) {
		http.Error(w, "this page has another name: set hosts to the names under which it is asked for", http.StatusMisdirectedRequest)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// knows says whether the page may be asked for under this name. Addresses are nobody's names, so
// nobody can have them point to this host.
func (p *Page) knows(hostPort string) bool {
	host := hostOf(hostPort)
	if host == "localhost" || host != "" && strings.EqualFold(host, hostOf(p.settings.Endpoint)) {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(p.settings.Hosts, func(name string) bool { return strings.EqualFold(name, host) })
}

func hostOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
}

// stream sends snapshots until the viewer leaves, or is too slow.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter()
	if !ok {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many viewers look at this page: see max_viewers", http.StatusServiceUnavailable)
		return
	}
	defer p.leave(v)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case snapshot := <-v.next:
			// The server's own limit is for whole answers. This one never ends.
			if control.SetWriteDeadline(time.Now().Add(patience)) != nil {
				return
			}
			if _, err := w.Write(snapshot); err != nil || control.Flush() != nil {
				return
			}
		}
	}
}

func (p *Page) enter() (*viewer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.viewers) >= p.settings.MaxViewers {
		return nil, false
	}
	v := &viewer{next: make(chan []byte, 1)}
	p.viewers[v] = struct{}{}
	select {
	case p.came <- struct{}{}:
	default:
	}
	return v, true
}

func (p *Page) leave(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.viewers, v)
}
