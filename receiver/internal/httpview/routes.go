// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/route"
)

// Routes say how route templates are found. Both may be nil.
type Routes struct {
	// Patterns are those of the user. They come first.
	Patterns *route.Table
	// Learner learns others from redacted paths.
	Learner *route.Learner
}

// Route finds the route template of a request to a server with this executable, which may be
// unknown. Call it before telemetry is made of the view.
func (v *Viewer) Route(view *View, executable string) {
	routes := &v.options.Routes
	if routes.Patterns == nil && routes.Learner == nil || len(view.Target) == 0 {
		return
	}
	if view.Request.HeadCut && len(view.Request.Fields()) == 0 {
		return // The target itself may be cut.
	}
	path := privacy.Split(view.Exchange.Method, view.Target).Path
	if routes.Patterns != nil {
		if view.Route = routes.Patterns.Find(view.Exchange.Method, path); view.Route != "" {
			return
		}
	}
	if routes.Learner == nil || len(path) == 0 {
		return
	}
	// Nothing is listed here: records list what they show.
	v.unlisted.Reset()
	v.path = v.options.Redact.Path(v.path[:0], path, false, &v.unlisted)
	server := route.Server{Port: view.Server.Port(), Executable: executable}
	if view.Problem == 0 && !view.Switched && route.Teaches(view.Status) {
		view.Route = routes.Learner.Learn(server, v.path)
		return
	}
	view.Route = routes.Learner.Find(server, v.path)
}
