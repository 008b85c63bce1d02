package config

import (
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const envPrefix = "CLOAKROOM_"

// FromEnv returns base with the CLOAKROOM_ variables of environ laid over it.
// environ has the form of os.Environ(); other variables are ignored, and of
// a repeated one the last counts. The rules are those of [Parse]: a variable
// that is set but empty is an error, and so is one that belongs to no field,
// unless Kubernetes has set it for a Service named "cloakroom", see the
// package's documentation, or the config names it as the one with a secret.
func FromEnv(base Config, environ []string) (Config, error) {
	vars := variables(environ)
	for _, secret := range [...]string{base.Keys.PassphraseEnv, base.Keys.KEKEnv, vars[envOf("keys.passphrase_env")], vars[envOf("keys.kek_env")]} {
		if envPath(secret) == "" {
			delete(vars, secret) // it belongs to no field because a field names it
		}
	}
	tree, unknown := envTree(vars)
	label := func(path string) string {
		name := envOf(path)
		if _, ok := vars[name]; ok {
			return "variable " + name
		}
		return fieldLabel(path)
	}
	base = base.clone()
	if err := errors.Join(unknown, decode(tree, &base, label)); err != nil {
		return Config{}, err
	}
	return base, nil
}

// variables returns the variables of environ that are ours.
func variables(environ []string) map[string]string {
	others := regexp.MustCompile(notOurs)
	vars := map[string]string{}
	for _, v := range environ {
		if name, value, ok := strings.Cut(v, "="); ok && strings.HasPrefix(name, envPrefix) && !others.MatchString(name) {
			vars[name] = value
		}
	}
	return vars
}

// notOurs matches what others set under our prefix: Kubernetes, in every
// container beside a Service named "cloakroom" (its own variables and those of
// Docker links), and who runs our tests.
const notOurs = `^CLOAKROOM_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|SOAK)$`

// envTree arranges vars as [Parse] does a document.
func envTree(vars map[string]string) (tree map[string]any, unknown error) {
	tree = map[string]any{}
	var known []string
	for _, l := range leaves() {
		known = append(known, l.env)
		if value, ok := vars[l.env]; ok {
			put(tree, l.path, envValue(value, l.kind))
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !slices.Contains(known, name) {
			path := strings.ToLower(strings.Replace(strings.TrimPrefix(name, envPrefix), "_", ".", 1))
			errs = append(errs, unknownName("variable "+name, path, envPath(envLike(name, known)), envOf))
		}
	}
	return tree, errors.Join(errs...)
}

// envLike returns the name that was meant by name, or "".
func envLike(name string, known []string) string {
	all := leaves()
	byRule := func(l leaf) bool { return envName(l.path, "") == name }
	if i := slices.IndexFunc(all, byRule); i >= 0 {
		return all[i].env // an exception to the rule
	}
	return closest(strings.ToUpper(name), known)
}

// envOf returns the name of the variable for the field at path.
func envOf(path string) string {
	all := leaves()
	i := slices.IndexFunc(all, func(l leaf) bool { return l.path == path })
	if i < 0 {
		return ""
	}
	return all[i].env
}

// envPath returns the path of the field that a variable is for, or "".
func envPath(name string) string {
	all := leaves()
	i := slices.IndexFunc(all, func(l leaf) bool { return l.env == name })
	if i < 0 {
		return ""
	}
	return all[i].path
}

// put sets the value at a dotted path, at most two names long.
func put(tree map[string]any, path string, value any) {
	section, name, nested := strings.Cut(path, ".")
	if !nested {
		tree[path] = value
		return
	}
	fields, _ := tree[section].(map[string]any)
	if fields == nil {
		fields = map[string]any{}
		tree[section] = fields
	}
	fields[name] = value
}

// envValue reads value as a document would for that kind of field. What has
// another form stays text, which the decoder then refuses.
func envValue(value string, kind reflect.Kind) any {
	switch kind {
	case reflect.Bool:
		if value == "true" || value == "false" {
			return value == "true"
		}
	case reflect.Slice:
		var list []any
		for element := range strings.SplitSeq(value, ",") {
			list = append(list, strings.TrimSpace(element))
		}
		return list
	case reflect.Int:
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n
		}
	}
	return value
}
