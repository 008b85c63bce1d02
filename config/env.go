package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const envPrefix = "CLOAKROOM_"

// FromEnv returns base with the CLOAKROOM_ variables of environ laid over it.
// environ has the form of os.Environ(). Other variables are ignored, and if one
// is repeated, the last counts.
//
// The rules are those of [Parse]: a variable that is set but empty is an error,
// and so is one that belongs to no field. There are two exceptions: variables
// that Kubernetes sets for a Service named "cloakroom" (see the package
// comment), and the variables that the config names as those with a secret.
func FromEnv(base Config, environ []string) (Config, error) {
	vars := variables(environ)
	clients, badList := listValue(vars[envOf("services.clients")])
	for _, secret := range append(clientSecrets(base, clients),
		base.Keys.PassphraseEnv, vars[envOf("keys.passphrase_env")],
		base.Keys.KEKEnv, vars[envOf("keys.kek_env")],
		base.Store.PasswordEnv, vars[envOf("store.password_env")],
		base.Store.SecretEnv, vars[envOf("store.secret_env")],
	) {
		if envPath(secret) == "" { // unless it is also the variable of a field
			delete(vars, secret)
		}
	}
	d := decoder{names: unknownVariables(vars), label: func(path string) string {
		list, rest := listOf(path)
		name := envOf(list)
		if _, ok := vars[name]; ok {
			return "variable " + name + rest
		}
		return fieldLabel(path)
	}}
	root := reflect.ValueOf(&base).Elem()
	for _, l := range leaves() {
		if value, ok := vars[l.env]; ok {
			field := root.FieldByIndex(l.index)
			switch {
			case !isListOfMappings(field.Type()):
				d.set(field, l.path, envValue(value, kindOf(field.Type())))
			case badList != nil:
				d.values = append(d.values, fmt.Errorf("config: %s: must be a list of mappings, as in a document",
					d.label(l.path)))
			default:
				d.set(field, l.path, clients)
			}
		}
	}
	if err := d.check(base); err != nil {
		return Config{}, err
	}
	return base, nil
}

// listValue reads the value of a variable as a document would have it. The
// error of the library is not for people: it may repeat the value.
func listValue(text string) (any, error) {
	root, err := parseYAML([]byte(text))
	return plain(root), err
}

// clientSecrets returns the names of the variables with the secrets of
// services, those of base and of the clients that a variable lists.
func clientSecrets(base Config, clients any) (names []string) {
	for _, c := range base.Services.Clients {
		names = append(names, c.SecretEnv)
	}
	list, _ := clients.([]any)
	for _, c := range list {
		fields, _ := c.(map[string]any)
		name, _ := fields["secret_env"].(string)
		names = append(names, name)
	}
	return names
}

// variables returns the variables of environ that are ours.
func variables(environ []string) map[string]string {
	others := regexp.MustCompile(notOurs)
	vars := map[string]string{}
	for _, v := range environ {
		name, value, ok := strings.Cut(v, "=")
		if ok && strings.HasPrefix(name, envPrefix) && !others.MatchString(name) {
			vars[name] = value
		}
	}
	return vars
}

// notOurs matches variables that begin like ours and are set by others.
// Kubernetes sets them in every container beside a Service named "cloakroom":
// the variables of the Service, and those of Docker links. SOAK is for our own
// tests.
const notOurs = `^CLOAKROOM_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|` +
	`PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|SOAK)$`

// unknownVariables returns an error for each variable that belongs to no field.
func unknownVariables(vars map[string]string) (errs []error) {
	var known []string
	for _, l := range leaves() {
		known = append(known, l.env)
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !slices.Contains(known, name) {
			words := strings.TrimPrefix(name, envPrefix)
			path := strings.ToLower(strings.Replace(words, "_", ".", 1))
			meant := envPath(envLike(name, known))
			errs = append(errs, unknownName("variable "+name, path, meant, envOf))
		}
	}
	return errs
}

// envLike returns the known name that is most likely meant by name, or "".
func envLike(name string, known []string) string {
	// A field may have a variable that does not follow the rule.
	unruly := leafThat(func(l leaf) bool { return envName(l.path, "") == name })
	return cmp.Or(unruly.env, closest(strings.ToUpper(name), known))
}

// envOf returns the name of the variable for the field at path, or "".
func envOf(path string) string { return leafThat(func(l leaf) bool { return l.path == path }).env }

// envPath returns the path of the field that a variable sets, or "".
func envPath(name string) string { return leafThat(func(l leaf) bool { return l.env == name }).path }

// envValue reads value as a document would for a field of that kind. A value of
// another form stays text, which the field then refuses.
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
