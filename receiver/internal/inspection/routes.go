// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/route"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// RoutesConfig says how http.route is found. By default it is not.
type RoutesConfig struct {
	// Patterns are like those of Go's http.ServeMux, such as "GET /users/{id}".
	Patterns []string `mapstructure:"patterns"`
	// Automatic finds templates for paths that no pattern matches.
	Automatic AutomaticRoutesConfig `mapstructure:"automatic"`

	_ struct{}
}

// AutomaticRoutesConfig learns templates from the paths that servers answer.
type AutomaticRoutesConfig struct {
	Enabled bool `mapstructure:"enabled"`
	// Children is how many segments are told apart at one place of paths.
	Children int `mapstructure:"children"`
	// Segments is how many are kept for each server.
	Segments int `mapstructure:"segments"`

	_ struct{}
}

const (
	minChildren, maxChildren = 1, 1000
	minSegments, maxSegments = 1, 100_000
	// maxServers bounds the ports and executables whose paths are learned.
	maxServers = 64
)

func defaultRoutes() RoutesConfig {
	return RoutesConfig{Automatic: AutomaticRoutesConfig{Children: 20, Segments: 500}}
}

func (c *RoutesConfig) validate(f *check.Faults) {
	check.InRange(f, "inspect::http::routes::automatic::children", c.Automatic.Children, minChildren, maxChildren)
	check.InRange(f, "inspect::http::routes::automatic::segments", c.Automatic.Segments, minSegments, maxSegments)
}

func (c *RoutesConfig) view(f *check.Faults) httpview.Routes {
	var routes httpview.Routes
	if len(c.Patterns) > 0 {
		routes.Patterns = new(route.Table)
	}
	for i, text := range c.Patterns {
		if err := routes.Patterns.Add(text); err != nil {
			f.Add(item("inspect::http::routes::patterns", i), "%w", err)
		}
	}
	if c.Automatic.Enabled {
		routes.Learner = route.NewLearner(route.Options{
			Children: c.Automatic.Children, Nodes: c.Automatic.Segments, Servers: maxServers,
		})
	}
	return routes
}
