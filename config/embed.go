package config

import (
	"fmt"
	"math"
)

// UnmarshalJSON reads c as [Parse] does, for encoding/json and the like: fields
// that data lacks keep their values, and after an error all do.
func (c *Config) UnmarshalJSON(data []byte) error {
	tree, err := parseTree(data)
	if err != nil {
		return err
	}
	return c.read(tree)
}

// UnmarshalYAML reads c as [Parse] does, for gopkg.in/yaml.v3, goccy/go-yaml and
// the like: fields that the document lacks keep their values, and after an error
// all do. unmarshal is the library's.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	var root any
	if err := unmarshal(&root); err != nil {
		return err
	}
	tree, err := asTree(root)
	if err != nil {
		return err
	}
	return c.read(tree)
}

// read lays tree over c, or leaves c alone.
func (c *Config) read(tree map[string]any) error {
	next := *c
	if err := decode(tree, &next, fieldLabel); err != nil {
		return err
	}
	*c = next
	return nil
}

// plain returns value with the types that [Parse] knows in the place of others
// that libraries use for the same.
func plain(value any) any {
	switch value := value.(type) {
	case int:
		return int64(value)
	case uint64:
		if value <= math.MaxInt64 {
			return int64(value)
		}
	case []any:
		for i := range value {
			value[i] = plain(value[i])
		}
		return value
	case map[string]any:
		for name := range value {
			value[name] = plain(value[name])
		}
		return value
	case map[any]any:
		tree := make(map[string]any, len(value))
		for name, v := range value {
			tree[fmt.Sprint(name)] = plain(v)
		}
		return tree
	}
	return value
}
