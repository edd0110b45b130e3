"""The methods: each bounds a whole graph, forward, backward or both ways."""
