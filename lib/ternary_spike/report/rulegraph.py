"""Drawing the workflow's rule graph without graphviz: Snakemake's dot text in, a layered SVG out."""

import re

import networkx as nx

from ternary_spike.report import palette
from ternary_spike.report.figures import subplots, svg_text

NODE = re.compile(r'^\s*(\d+)\s*\[\s*label\s*=\s*"([^"]*)"', re.M)
EDGE = re.compile(r"^\s*(\d+)\s*->\s*(\d+)", re.M)
HALF_A_BOX = 0.25  # height of a rule's box over the distance of two layers


def parse(dot: str) -> nx.DiGraph:
    """The graph of ``snakemake --rulegraph``'s output; nodes are rule names.

    Jobs never run in a circle, but rules may: a run can be trained for what another one's evaluation found, or start
    from another's weights, so that a rule reads from itself. The edge that closes a circle has ``back`` set; without
    such edges the graph has none.

    Raises:
        ValueError: if there is no node in it, or an edge of an unknown node.
    """
    names = {number: label.split("\\n")[0] for number, label in NODE.findall(dot)}
    if not names:
        raise ValueError("no rule in it")
    graph = nx.DiGraph()
    graph.add_nodes_from(names.values())
    for first, second in EDGE.findall(dot):
        if first not in names or second not in names:
            raise ValueError(f"an edge {first} -> {second} without its rules")
        graph.add_edge(names[first], names[second])
    back = []
    while not nx.is_directed_acyclic_graph(graph):
        cycle = nx.find_cycle(graph)
        # wherever the search enters the circle: the arrow to the training is the one that leads back
        back.append(next((edge for edge in cycle if edge[1] == "train"), cycle[-1]))
        graph.remove_edge(*back[-1])
    reduced = nx.transitive_reduction(graph)
    reduced.add_edges_from(back, back=True)
    return reduced


def draw(graph: nx.DiGraph) -> str:
    """The graph as SVG text, in layers from top to bottom, each rule below all that it reads from; ``back`` dashed."""
    forward = nx.DiGraph(graph)
    forward.remove_edges_from([edge for edge in graph.edges if graph.edges[edge].get("back")])
    layers = list(nx.topological_generations(forward))
    places = {}
    for level, layer in enumerate(layers):
        # below the mean of what a rule reads from, so that edges cross little
        wanted = {
            name: sum(places[p][0] for p in forward.predecessors(name)) / max(1, forward.in_degree(name))
            for name in layer
        }
        for i, name in enumerate(sorted(layer, key=lambda name: (wanted[name], name))):
            places[name] = ((i + 0.5) / len(layer), -level)
    drawn, axes = subplots(height=0.5 * len(layers) + 0.2, width=5.0)
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(-len(layers) + 0.5, 0.5)
    for first, second, back in graph.edges(data="back", default=False):
        arrow = {"arrowstyle": "-|>", "color": palette.INK, "lw": 0.8, "shrinkA": 9, "shrinkB": 9}
        start, end = places[first], places[second]
        if first == second:  # out of the top of its box and in at the bottom
            start, end = ((start[0], start[1] + side * HALF_A_BOX) for side in (1, -1))
            arrow |= {"linestyle": "--", "connectionstyle": "arc3,rad=-4", "shrinkA": 0, "shrinkB": 0}
        elif back:
            arrow |= {"linestyle": "--", "connectionstyle": "arc3,rad=-0.6", "shrinkB": 20}
        axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
    for name, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "fc": palette.PAPER, "ec": palette.COLOURS["binary"], "lw": 1.0}
        axes.text(x, y, name, ha="center", va="center", bbox=box)
    return svg_text(drawn).replace(palette.PAPER, f"var(--paper, {palette.PAPER})")
