package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// secrets are the names that the code has for what nobody may find out by how long a comparison takes: of fields, variables
// and functions. A secret with another name needs a line here.
var secrets = []string{"Password", "password", "MD5", "md5", "md5Of", "proof", "stored", "Key", "ClientKey", "clientKey",
	"ServerKey", "serverKey", "StoredKey", "signature"}

// public are the files in which a name of secrets is that of something else.
var public = map[string]string{"proxy/locks.go": "Key"} // of a lock

// comparing are the names of the functions that tell two values apart at once where they differ, whatever their packages.
var comparing = []string{"Equal", "EqualFold", "EqualFunc", "Compare", "DeepEqual", "HasPrefix", "HasSuffix", "Contains"}

// leaks lists the comparisons of secrets that do not take the same time whatever they find.
func leaks(s source) (found []string) {
	imports := s.imports()
	isSecret := func(e ast.Expr) bool { return isSecret(e, imports, public[s.path]) }
	report := func(node ast.Node, what string) { found = append(found, s.at(node)+": "+what) }
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.BinaryExpr:
			equality := node.Op == token.EQL || node.Op == token.NEQ
			if equality && !isKnown(node.X) && !isKnown(node.Y) && (isSecret(node.X) || isSecret(node.Y)) {
				report(node, "a secret is compared by "+node.Op.String())
			}
		case *ast.SwitchStmt:
			if node.Tag != nil && isSecret(node.Tag) {
				report(node, "a secret is compared by switch")
			}
		case *ast.CallExpr:
			called, ok := node.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(comparing, called.Sel.Name) {
				break
			}
			if name, ok := called.X.(*ast.Ident); ok && imports[name.Name] == "crypto/hmac" {
				break
			}
			if isSecret(called.X) || slices.ContainsFunc(node.Args, isSecret) && !slices.ContainsFunc(node.Args, isKnown) {
				report(node, "a secret is compared by "+called.Sel.Name)
			}
		case *ast.SelectorExpr:
			if name, ok := node.X.(*ast.Ident); ok && imports[name.Name] == "crypto/subtle" && node.Sel.Name == "ConstantTimeCompare" {
				report(node, "hmac.Equal does the same, and cannot be read the wrong way round")
			}
		}
		return true
	})
	return found
}

// isKnown tells whether an operand is a constant that everybody may read: then it is asked what the secret is like.
func isKnown(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil" || e.Name == "true" || e.Name == "false"
	}
	return false
}

// isSecret tells whether an operand is made of a secret, beside its length.
func isSecret(e ast.Expr, imports map[string]string, public string) (is bool) {
	named := func(name string) bool { return name != public && slices.Contains(secrets, name) }
	ast.Inspect(e, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CallExpr:
			if called, ok := node.Fun.(*ast.Ident); ok && called.Name == "len" {
				return false
			}
		case *ast.SelectorExpr:
			owner, short := node.X.(*ast.Ident)
			ofPackage := short && imports[owner.Name] != ""
			is = is || named(node.Sel.Name) && !ofPackage
			return !is && !short // what has a secret among other things need not be one
		case *ast.Ident:
			is = is || named(node.Name) && node.Name != "MD5" // the method
		}
		return !is
	})
	return is
}

// S#1032: a credential was compared byte by byte, until the first that differed. (xdg-go/scram, which compares the keys of
// SCRAM, uses hmac.Equal as well.)
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains([]string{"proxy", "proxy/login", "proxy/console", "pools/backend"}, s.folder) {
			for _, leak := range leaks(s) {
				t.Error(leak)
			}
		}
	}
}

// The rule above is worth something only if a comparison that breaks it is found.
func TestComparisonsOfSecretsAreFound(t *testing.T) {
	for _, c := range []struct {
		body string
		want int
	}{
		{`hmac.Equal(a.Key, b.Key)`, 0},
		{`a.Key == nil || len(a.Key) == len(b.Key) || a.Password != "" || method == MD5`, 0},
		{`bytes.Equal(a.Salt, b.Salt) || head[0] == protocol.Password`, 0},
		{`subtle.ConstantTimeCompare(a.Key, b.Key) == 1`, 1},
		{`bytes.Equal(a.Key, b.Key)`, 1},
		{`string(a.Key) == string(b.Key)`, 1},
		{`string(a.Key[:4]) == given`, 1},
		{`given != who.Secret.Password`, 1},
		{`given == md5Of(a, b)`, 1},
		{`a.MD5 == b.MD5 && slices.Equal(clientKey, given) && strings.EqualFold(given, (*a).proof)`, 3},
		{`func() bool { switch password { case given: return true }; return false }()`, 1},
	} {
		set := token.NewFileSet()
		text := `package p; import "crypto/hmac"; import "crypto/subtle"; import "protocol"; var x = ` + c.body
		file, err := parser.ParseFile(set, "p.go", text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := leaks(source{path: "p.go", file: file, set: set}); len(got) != c.want {
			t.Errorf("%s\nhas %d faults, got %s", c.body, c.want, fmt.Sprintf("%q", got))
		}
	}
}
