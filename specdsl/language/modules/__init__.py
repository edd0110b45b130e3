"""Modules: `import "f.spec" as m` becomes the declarations of that file, each named `m.name`.

After `expand` a program has one flat list of declarations, and a dot in a name is an ordinary
character to every later stage.
"""
