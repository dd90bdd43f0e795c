// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// messages returns the literal messages of log calls and of errors in Go source.
func messages(file string, source []byte) ([]passage, error) {
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	var all []passage
	ast.Inspect(tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 || !speaks(call) {
			return true
		}
		if text, ok := literal(call.Args[0]); ok {
			all = append(all, passage{files.Position(call.Args[0].Pos()).Line, text})
		}
		return true
	})
	return all, nil
}

// speaks reports whether the first argument of a call is a message for people.
func speaks(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, _ := method.X.(*ast.Ident)
	switch method.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		return true
	case "New":
		return of != nil && of.Name == "errors"
	case "Errorf":
		return of != nil && of.Name == "fmt"
	}
	return false
}

// literal returns the text of a string literal, or of several that are joined.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, okLeft := literal(e.X)
		right, okRight := literal(e.Y)
		return left + right, okLeft || okRight
	default:
		return "", false
	}
}

// descriptions returns the values of description in YAML.
func descriptions(text []byte) ([]passage, error) {
	var all []passage
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("parse: %w", err)
		}
		collect(&document, &all)
	}
}

func collect(n *yaml.Node, all *[]passage) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "description" && child.Kind == yaml.ScalarNode {
			*all = append(*all, passage{child.Line, child.Value})
		}
		collect(child, all)
	}
}
