"""Every diagnostic code, once. `specdsl explain CODE` prints the entry.

E01 syntax, E02 names, E03 types and shapes, E04 units, sets and numbers, E05 files and data,
E06 networks, E07 properties and queries, E08 settings and options, E09 not supported yet,
E10 VNN-LIB, E11 training, W warnings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """`title` in a few words; `explanation`: what it means and what to do, in plain sentences."""

    title: str
    explanation: str


CODES: dict[str, Code] = {
    # --- E01 syntax ---
    "E0101": Code("syntax error", "The text does not continue in any way the grammar allows."),
    "E0102": Code(
        "text too long",
        "A spec holds at most 256 KiB of text and 32,768 words. Keep large tables in files of "
        "their own and read them.",
    ),
    "E0103": Code(
        "character of no meaning",
        "The character means nothing here. Names are made of the letters a to z, digits and `_`; "
        "the signs of the language are those of a plain keyboard.",
    ),
    "E0104": Code(
        "text or unit not closed",
        "A text in quotes, and a unit in backticks, ends on the line where it begins.",
    ),
    "E0105": Code(
        "brackets do not match",
        "A bracket is opened and not closed, closed and not opened, or closed by another kind.",
    ),
    "E0106": Code(
        "nested too deeply",
        "An expression nests, or a chain of operators runs, further than the program can follow. "
        "Name parts of it with `let`.",
    ),
    "E0107": Code(
        "malformed number",
        "A number is digits, with digits on both sides of a dot, perhaps an exponent: `1_000`, "
        "`0.5`, `2.5e-3`. Nothing may be glued to it; a product is written `2 * x`.",
    ),
    "E0108": Code(
        "number too long",
        "Numbers are kept exactly; beyond 400 digits, or exponents beyond 400, they are refused.",
    ),
    "E0109": Code(
        "unknown escape",
        r"In a text `\"` means a quote, `\\` a backslash, `\n` a new line and `\t` a tab.",
    ),
    "E0110": Code(
        "language version",
        "The first line of a file names the version of the language it is written in: "
        "`spec 1.0`. The version is two numbers with a dot.",
    ),
    "E0111": Code(
        "`=` in a condition",
        "`=` gives a name its value; whether two values are equal is asked by `==`.",
    ),
    "E0112": Code(
        "sign of another language",
        "The language says `and`, `or`, `not`, `^`, `!=`, `#` where others write `&&`, `||`, "
        "`!`, `**`, `<>`, `//`.",
    ),
    "E0113": Code(
        "word of the language as a name",
        "The words forall, exists, and, or, not, if, then, else, true, false, in, where and for "
        "are never names. Choose another.",
    ),
    "E0114": Code(
        "nothing to check",
        "`check` is followed by one or more properties, separated by commas, before its options.",
    ),
    "E0115": Code(
        "no such statement",
        "Every statement begins with its keyword: param, const, enum, space, network, dataset, "
        "region, let, property, check and others. A plain value is given by `let name = value`.",
    ),
    "E0116": Code(
        "continues the line above",
        "Line ends have no meaning: `(` or `[` at the beginning of a line calls or indexes what "
        "stands above it.",
    ),
    "E0117": Code(
        "form of a quantifier",
        "In an expression: `forall x in R where c: claim`; in the block of a property: "
        "`forall x in R where c show claim`.",
    ),
    "E0118": Code(
        "form of a set by condition",
        "A set by condition is written `{ x in R where c }`: a name, its set, and the condition.",
    ),
    "E0119": Code(
        "too many syntax errors",
        "Reading stopped after a number of errors. Mend those shown and run again.",
    ),
    "E0120": Code(
        "`:` and `->` confused",
        "`:` stands before a type; `->` only in a network, between its input and output types.",
    ),
    # --- E02 names ---
    "E0201": Code(
        "unknown name",
        "Nothing that is visible here has this name. Names are declared with `param`, `const`, "
        "`let`, `enum`, `space`, `network`, `dataset`, `region` or `property`, or by a "
        "`forall`.",
    ),
    "E0202": Code(
        "declared twice",
        "Each top-level name, each label of an enum, each field of a space and each `check ... "
        "as` name is declared once in a file.",
    ),
    "E0203": Code(
        "no such part",
        "A record has fields, a vector indexed by an enum has named outputs, a sample has "
        "`input` and `label`; nothing here has the name that follows the dot.",
    ),
    "E0204": Code(
        "used before its declaration",
        "A file is read from top to bottom: move the declaration above its first use. A "
        "function cannot use itself.",
    ),
    "E0205": Code(
        "calls nest too deeply",
        "Functions call functions more levels deep, or more often, than can be worked out. "
        "Flatten the chain.",
    ),
    "E0206": Code(
        "`-D` names no parameter",
        "Only what a file declares with `param` can be set on the command line.",
    ),
    "E0207": Code(
        "parameter without a value",
        "The `param` has no default, so that `-D name=value` is needed to run the file.",
    ),
    "E0208": Code(
        "not a type",
        "After a colon stands a type: `real[...]`, `int`, `label[n]`, `bool`, `string`, `norm`,"
        " a space or an enum.",
    ),
    "E0209": Code(
        "nested too deeply",
        "The expression has more levels than can be worked through. Split it with `let`.",
    ),
    "E0210": Code(
        "import cycle",
        "A file imports itself, perhaps through others. Move what they share into a file that "
        "imports none of them.",
    ),
    "E0211": Code(
        "no such name in a module",
        "After the dot stands something that the imported file declares at its top level: a "
        "parameter, space, network, region, property or label, or the name of one of its checks.",
    ),
    "E0212": Code(
        "module as a value",
        "The name after `import ... as` stands for a whole file. Pick something from it with a "
        "dot; only `check` takes a module alone.",
    ),
    "E0213": Code(
        "`with` names no parameter",
        "`import ... with { name = value }` sets what the imported file declares with `param`, and "
        "nothing else.",
    ),
    "E0214": Code(
        "too many imports",
        "A program imports at most 64 files, 16 deep, of a million characters in all. Each "
        "`import` counts, because each is a copy with its own parameters.",
    ),
    "E0215": Code(
        "nothing to check in a module",
        "`check m` runs the checks and queries that the file of `m` holds, and it holds none.",
    ),
    "E0216": Code(
        "word of the language hidden from a module",
        "The file declares a name that an imported file uses with the meaning the language gives "
        "it. The module must mean the same wherever it is imported: choose another name here.",
    ),
    "E0217": Code(
        "module without a name",
        "Without `as` a module is called like its file, so the name of the file must be a name of "
        "the language: letters, digits and `_`.",
    ),
    # --- E03 types and shapes ---
    "E0301": Code(
        "argument of another type",
        "A function or network was given something else than its declaration says, most often a"
        " tensor of another shape. Shapes are never changed silently.",
    ),
    "E0302": Code(
        "another kind of value is needed",
        "For example a number where a set belongs, or a whole record where one of its fields is"
        " meant.",
    ),
    "E0303": Code(
        "shapes do not fit",
        "Arithmetic and comparisons work entry by entry on equal shapes; a scalar meets every "
        "entry of a tensor.",
    ),
    "E0304": Code(
        "not a whole number",
        "Extents of shapes, indices and ends of ranges are whole numbers; extents are positive.",
    ),
    "E0305": Code(
        "wrong number of arguments",
        "A function, layer, index or pattern has more or fewer parts than its declaration; the "
        "arguments of functions are given by position.",
    ),
    "E0306": Code(
        "index or label out of range",
        "Entries and classes are counted from 0 to one less than their number.",
    ),
    "E0307": Code(
        "cannot be called or indexed",
        "Parentheses follow functions, regions, properties and networks; brackets follow "
        "tensors and datasets.",
    ),
    "E0308": Code(
        "tensors compared without `all` or `any`",
        "Comparing tensors gives one truth value for each entry. Say whether `all` or `any` of "
        "them must hold.",
    ),
    "E0309": Code(
        "a vector of scores is needed",
        "`argmax`, `argmin` and `margin` choose among the entries of a vector with at least two; "
        "`softmax` takes a vector.",
    ),
    "E0310": Code(
        "ragged list",
        "The entries of a list have one shape, so that the list is a tensor; a list has at "
        "least one entry.",
    ),
    "E0311": Code(
        "value of another type than declared",
        "The text of a `-D` is no value of the parameter's type, or two labels count different "
        "classes.",
    ),
    "E0312": Code(
        "not a constant",
        "The value must be known before any file is read: numbers, parameters, constants and "
        "exact arithmetic on them. Exponents are whole numbers.",
    ),
    "E0314": Code(
        "no shape",
        "A box of two scalars takes any shape; where nothing else fixes one, intersect it with "
        "a set that has one, or give its corners as lists.",
    ),
    "E0315": Code(
        "only the class of a smoothed classifier is known",
        "A smoothed classifier gives the class that its network gives most often under noise. It "
        "has no scores: `argmax` is all that may be asked of it.",
    ),
    "E0316": Code(
        "cannot be smoothed",
        "`smooth(net, sigma)` adds Gaussian noise of the positive standard deviation `sigma` to "
        "every entry of the only input: real numbers, in one unit.",
    ),
    # --- E04 units, sets and numbers ---
    "E0401": Code(
        "units differ",
        "Numbers are compared and added in one unit. Units are never converted; a number "
        "without a unit takes that of the other side.",
    ),
    "E0402": Code(
        "out of range",
        "The value lies outside the interval that the parameter declares, or below the least "
        "value of an option.",
    ),
    "E0403": Code(
        "empty set",
        "The set has no element, so that everything would be true of it: the ends of an "
        "interval, a box or a slice are the wrong way round, or a radius is negative.",
    ),
    "E0404": Code("division by zero", "The divisor is exactly 0."),
    "E0405": Code(
        "no value somewhere",
        "At some point of the set a divisor is 0, or the argument of `log`, `sqrt` or `tan` lies "
        "where the function has no value. Narrow the set with `where`, or multiply the inequality "
        "out.",
    ),
    "E0406": Code(
        "number too large",
        "The exact value has more digits than any meant number, or lies beyond the range of "
        "floating-point numbers.",
    ),
    "E0407": Code(
        "ball over unlike fields",
        "One radius cannot measure metres and radians at once, nor steps of a whole number. Say "
        "`scale = normalized` to measure each field by its range, `only = [a, b]` to let only some "
        "fields differ, or bound the fields one by one.",
    ),
    "E0408": Code(
        "unknown unit",
        "Units stand in backticks and are spelled as physicists do, joined by `*`, `/` and whole "
        "powers: `m`, `km`, `m/s^2`, `rad`. Currencies and `%` are units too.",
    ),
    # --- E05 files and data ---
    "E0501": Code("file cannot be read", "The file is missing or may not be read by this user."),
    "E0502": Code("not a regular file", "Folders, pipes and devices are refused."),
    "E0503": Code("file too large", "The file, or what it expands to, is over the size limit."),
    "E0504": Code("damaged gzip data", "The name ends in .gz but the content does not decompress."),
    "E0505": Code("not UTF-8 text", "Spec and VNN-LIB files are UTF-8; save the file as such."),
    "E0510": Code(
        "inputs are not numbers",
        "The array of inputs holds text or objects. A dataset needs one array of numbers, the "
        "first axis counting the samples.",
    ),
    "E0511": Code(
        "sample not finite",
        "A sample holds NaN or infinity, so nothing around it has a meaning. Drop or mend it.",
    ),
    "E0512": Code(
        "inputs and labels differ in number",
        "Every input needs its label: the two files or arrays do not belong together.",
    ),
    "E0513": Code(
        "labels are not classes",
        "Labels are whole numbers from 0, one for each sample; one-hot rows must be converted.",
    ),
    "E0514": Code(
        "not an IDX file",
        "IDX files (as of MNIST) begin with two zero bytes, the element type, the number of axes "
        "and the extents, and hold exactly as many bytes as those say. The file is something else "
        "or was cut short.",
    ),
    "E0515": Code(
        "not a NumPy archive",
        "`npz` reads archives of plain arrays as `numpy.savez` writes them; arrays of Python "
        "objects are refused because reading them would run code.",
    ),
    "E0516": Code(
        "no such array",
        "The archive has no array of that name. Name the arrays in the reader: "
        '`npz("f.npz", inputs = "x_test", labels = "y_test")`.',
    ),
    "E0517": Code(
        "not a table of numbers",
        "Every row has equally many cells and every cell is a number; only the first line may "
        "hold column names.",
    ),
    "E0518": Code(
        "no such column",
        "The column of labels is given by its name in the first line, or by its number from 0.",
    ),
    "E0519": Code(
        "scikit-learn is not installed",
        "The data sets that scikit-learn carries need the extra `data`: "
        '`pip install "specdsl[data]"`.',
    ),
    "E0520": Code("unknown data set", "scikit-learn does not carry a data set of this name."),
    "E0521": Code(
        "inputs of another size than declared",
        "The type of the dataset says how many entries an input has, and the file disagrees. "
        "Correct the type, the space or the file.",
    ),
    "E0522": Code(
        "labels do not fit the declared type",
        "The type says `label[n]`: each label is a whole number from 0 to n - 1.",
    ),
    "E0523": Code(
        "not a CIFAR file",
        "The binary files of CIFAR-10 hold one label byte and 3,072 bytes of pixels for each "
        "sample, those of CIFAR-100 two label bytes. The file has another length.",
    ),
    "E0524": Code(
        "not a safetensors file",
        "A safetensors file holds a length, a header in JSON that says which tensor lies where, "
        "and the numbers. The header is cut short, or names places outside the file.",
    ),
    # --- E06 networks ---
    "E0600": Code(
        "not an ONNX model",
        "The bytes do not decode as an ONNX protobuf: the file is cut short, empty, or something "
        "else. Download or export it again.",
    ),
    "E0601": Code(
        "invalid ONNX model",
        "The file decodes but breaks the rules of ONNX, for example a name that nothing computes, "
        "a name computed twice, or a cycle. Run `onnx.checker.check_model` in the exporter.",
    ),
    "E0602": Code(
        "network too large",
        "A count of nodes, a tensor or a computed value is over the limit that protects this "
        "machine from hostile files.",
    ),
    "E0603": Code(
        "external data",
        "The weights lie in other files, which are never opened. Save the model in one file: "
        "`onnx.save(model, path, save_as_external_data=False)`.",
    ),
    "E0604": Code(
        "op without a rule",
        "The network uses an op this version does not know. The message names the op and the "
        "node; docs/ops.md lists the ops there is a rule for.",
    ),
    "E0605": Code(
        "form of an op not supported",
        "The op is known, but not with these attributes or operands, for example a power "
        "of a computed value whose exponent is computed too.",
    ),
    "E0606": Code(
        "weights not finite",
        "An initializer holds NaN or infinity, so that no statement about the network has a "
        "meaning. Training probably diverged.",
    ),
    "E0607": Code(
        "inputs and outputs of a network",
        "A network has at least one input that is not an initializer and at least one output, all "
        "of them float32 tensors.",
    ),
    "E0608": Code(
        "shape not fixed",
        "The first axis may be dynamic and is bound to 1; every other axis of the input has a "
        "fixed positive extent. Export the model with fixed shapes.",
    ),
    "E0609": Code(
        "shapes do not fit in a network",
        "The operands of a node do not have the shapes its op takes.",
    ),
    "E0610": Code(
        "disagreement with ONNX Runtime or PyTorch",
        "The imported network computes something else than ONNX Runtime does on the same file, or "
        "than the PyTorch module does, beyond float32 rounding. It is refused, because any verdict "
        "would be about another function. This is a bug of ours or of theirs: please report it "
        "with the network.",
    ),
    "E0611": Code(
        "refused by ONNX Runtime or PyTorch",
        "ONNX Runtime cannot load or run the file, or PyTorch the module, so that no "
        "counterexample could be replayed.",
    ),
    "E0612": Code(
        "control flow in a network",
        "Loops, branches and local functions are not supported: the network must be a plain "
        "sequence of ops.",
    ),
    "E0613": Code(
        "op from another domain",
        "Only ops of the standard ONNX domain are known; custom and contributed ops are not.",
    ),
    "E0614": Code(
        "opset not supported",
        "The model's opset is too old or too new. Convert it with `onnx.version_converter`.",
    ),
    "E0615": Code(
        "PyTorch module that cannot be imported",
        "A module handed over in Python is traced by `torch.export` on zeros of the declared "
        "shapes, with a batch axis of 1. It must be in eval mode, in float32, on the CPU, and do "
        "the same ops for every input.",
    ),
    "E0620": Code(
        "unknown layer",
        "An inline network uses a layer that does not exist, or arguments the layer does not take.",
    ),
    "E0621": Code(
        "layer does not fit",
        "A layer's weights do not fit the shape that reaches it. A dense layer takes a vector: put "
        "`layer flatten` before it where the value has more axes.",
    ),
    "E0622": Code(
        "layer without weights",
        "A layer given by its size alone has weights from a file, `weights = safetensors(...)`, or "
        "from training: a `train` block that saves the network, run by `specdsl train`.",
    ),
    "E0623": Code(
        "network not trained yet",
        "A network whose layers have no weights is read from what its `train` block saves. A check "
        "never trains: run `specdsl train` first.",
    ),
    "E0630": Code(
        "cannot be exported to ONNX",
        "A constant of the network is larger than any float32 number, or a node has no ONNX form.",
    ),
    "E0650": Code(
        "network and declaration differ in size",
        "The declaration says how many entries the network takes and gives, and the file "
        "disagrees. Correct the type or the space, or give the file that was meant.",
    ),
    "E0651": Code(
        "no hidden value of that name",
        '`net.hidden("name")` takes the name that a value has in the ONNX file; the help line '
        "lists those that there are.",
    ),
    "E0652": Code(
        "network not handed over",
        "A network declared as `given` comes from Python: "
        '`specdsl.load("f.spec", networks={"net": module})`. The command line has none to give. A '
        "name in `networks` must be that of a declared network.",
    ),
    # --- E07 properties and queries ---
    "E0701": Code(
        "property without `show`",
        "A property says what should hold: `show` and a claim.",
    ),
    "E0702": Code(
        "unbounded variable",
        "A quantified variable ranges over a set without bounds. Hardly any method can prove "
        "anything over it: give bounds.",
    ),
    "E0703": Code(
        "not a claim",
        "Something true or false is needed: a comparison, a property, or several joined by "
        "`and`, `or`, `not`, `=>`.",
    ),
    "E0704": Code(
        "clause out of place",
        "The order is: `forall` or `exists`, then `where`, then `show`, which is the last; "
        "`let` may stand between.",
    ),
    "E0705": Code(
        "alternating quantifiers",
        "An `exists` under a `forall`, or a `forall` under an `exists`, over infinite sets (a "
        "negation turns one into the other). Say with `let` which value exists, or quantify over "
        "a finite set: those never alternate.",
    ),
    "E0706": Code(
        "figure over several properties",
        "Accuracies count samples of one property. `verified_fraction` counts obligations of any.",
    ),
    "E0707": Code(
        "labels are not ordered",
        "Labels and words compare with `==` and `!=` only: class 3 is not more than class 2.",
    ),
    "E0708": Code(
        "state without a step",
        "The state of a `system` changes from step to step: it stands in `always(a..b, claim)`, "
        "`eventually(a..b, claim)`, `until(a..b, claim, claim)` or `at(k, value)`, and these speak "
        "about nothing else.",
    ),
    "E0709": Code(
        "`for` over an infinite set",
        "A query with `for` is answered once for each member of its sets: slices of datasets, "
        "enums, ranges, `one_of(...)`. What ranges over other sets stands after `over`, or under "
        "a `forall` in the claim.",
    ),
    "E0710": Code(
        "query does not depend on its variable",
        "The objective of `maximize` or `minimize`, or the claim behind `such that`, is one for "
        "all values of what the query searches. Most often a name is misspelt.",
    ),
    "E0711": Code(
        "state of a system not complete",
        "Each `state` of a `system` has one initial set, `state x: real[2] in box(...)`, and one "
        "line `next x = ...` that says its value after a step.",
    ),
    "E0712": Code(
        "not an objective of training",
        "`minimize` takes losses with weights, joined by `+`; `regularize` a regulariser with a "
        "weight; `constrain` a measure, `<=` and a bound. A weight is a constant or a schedule.",
    ),
    "E0713": Code(
        "parameter of a property without a value",
        "In training the input and the label of a sample fill the first parameters of a property; "
        "all others are given by name: `certified_loss(robust, r = 1/10)`.",
    ),
    "E0714": Code(
        "input or output without a name",
        "A network with several inputs or outputs names each of them in its type: "
        "`(image: Camera, speed: real) -> (steering: real, throttle: real)`.",
    ),
    "E0720": Code(
        "clock of a training",
        "All schedules of a training run on one clock: its epochs, counted from 0 through all "
        "stages. A schedule ends with the last epoch, the epochs of the stages add up to those of "
        "the block, and schedules are declared in the block.",
    ),
    "E0721": Code(
        "weights selected by tested samples",
        "`keep best` chooses among weights by how they do on some samples. If a `check` or query "
        "of the file reads the same samples, its figures are too good to be true. Keep samples of "
        "the training data apart: `train net on d[0:9000]`, `keep best by ... on d[9000:10000]`.",
    ),
    "E0722": Code(
        "network of a loss without weights",
        "A loss of a training is about networks that it trains, or whose weights are in a file. "
        "All that are trained stand behind `train`: `train model, decoder on data`. Of a "
        "composition, `let model = encoder >> head`, all networks are trained.",
    ),
    "E0730": Code(
        "property that cannot be trained for",
        "A training makes a claim true at all points of a set, by bounds of one network. So each "
        "variable is quantified by `forall` over a bounded set of real numbers; what is claimed "
        "compares linear expressions of the outputs of the network that is trained, joined by "
        "`and`, `or`, `=>` and `not`. `check` decides more than that.",
    ),
    "E0731": Code(
        "property that a standalone script has no bounds for",
        "A script of `specdsl emit --standalone` has interval bounds of its own, over boxes: one "
        "variable in a linf ball or a box, the network applied to that variable, and inequalities "
        "that all hold. Without `--standalone` the script takes all that can be trained for.",
    ),
    "E0750": Code(
        "too many cases",
        "Negated, the claim is a disjunction of more cases than anyone could decide: alternatives "
        "multiply where they are joined by `and`. Split the property.",
    ),
    "E0751": Code(
        "empty set",
        "A set has no points, because of values that are known only now; nothing is claimed.",
    ),
    "E0752": Code(
        "values do not fit",
        "Values that are known only once files are read do not have the kind or the shape that "
        "this place needs.",
    ),
    "E0753": Code(
        "sample out of range",
        "The dataset holds fewer samples than the slice or index asks for. Samples count from 0, "
        "and the end of a slice is excluded.",
    ),
    "E0754": Code(
        "unbounded variable",
        "Every quantified number needs a lower and an upper bound, from its space, its region or "
        "the `where` of the property.",
    ),
    "E0755": Code(
        "not a question about a smoothed classifier",
        "What samples can say of `g = smooth(net, sigma)` is that it gives one class all over a "
        "set: `forall x in norm_ball(x0, r, l2): argmax(g(x)) == c`, the variable itself in it, "
        "and nothing else beside it.",
    ),
    # --- E08 settings and options ---
    "E0801": Code(
        "unknown backend or reader",
        "The word after `using`, or the reader of a network or dataset, is not one that exists.",
    ),
    "E0802": Code(
        "unknown option",
        "Options and settings are closed lists, so that a typo is found at once.",
    ),
    "E0803": Code("given twice", "An option or setting has one value."),
    "E0804": Code(
        "option of another kind",
        "The value of an option is not of the kind it takes, or not one of its choices.",
    ),
    "E0805": Code("option missing", "The option has no default and must be given."),
    "E0806": Code(
        "unknown report or figure",
        "The word after `report`, or in `expect`, is not one that exists.",
    ),
    "E0807": Code(
        "not an expectation",
        "`expect` compares figures such as `certified_accuracy` with numbers; several are "
        "joined by `and` or `or`.",
    ),
    "E0810": Code(
        "path leaves the folder",
        "Paths in a spec are relative to it and stay inside its folder, so that a spec can be "
        "moved and trusted. `--allow-path` opens another folder; paths given by `-D` are "
        "allowed.",
    ),
    "E0811": Code("not a usable path", "The text cannot be the name of a file."),
    "E0850": Code(
        "malformed parameter on the command line",
        "Parameters are given as `-D name=value`, each name once.",
    ),
    "E0851": Code(
        "malformed selection",
        "`-k` takes words joined by `and`, `or`, `not` and parentheses; a word selects the ids "
        "that contain it, without cutting a number in two.",
    ),
    "E0852": Code(
        "unknown backend",
        "`using` and `--using` take the name of a backend; `specdsl check --help` lists them.",
    ),
    "E0853": Code(
        "option of a backend",
        "The backend has no such option, or not with this value. Options are closed: a typo is an "
        "error, never ignored.",
    ),
    "E0854": Code(
        "output cannot be written",
        "The folder does not exist, is not writable, or lies outside the folders the spec may use.",
    ),
    "E0855": Code(
        "not supported by this method",
        "The backend has no rule for something in the query and refuses before solving. The help "
        "line names a backend that can take it; `--using` changes the backend for one run.",
    ),
    "E0856": Code(
        "no such diagnostic code",
        "Codes look like E0101 or W0701; they stand in brackets after `error` or `warning`.",
    ),
    "E0857": Code(
        "malformed table of instances",
        "`bench` reads a CSV file with a header line and at least the columns benchmark, onnx and "
        "vnnlib; timeout_s and verdict are optional. Results are kept in a file of its own.",
    ),
    "E0858": Code(
        "stage cannot be printed",
        "This stage has no meaning for the query, for example an LP file for a norm that is not "
        "linear, or one stream for several obligations where each needs its own file.",
    ),
    "E0859": Code(
        "which training",
        "`specdsl train` and `specdsl emit` are about one `train` block. A spec with several says "
        "which by `--network`.",
    ),
    "E0860": Code(
        "malformed sweep",
        "A parameter takes several values as `-D name=first..last:step`, both ends included (a "
        "step may be left out for `int`), or as `-D 'name=one_of(1, 2, 5)'`. Each is checked.",
    ),
    "E0861": Code(
        "too many combinations",
        "Several swept parameters give every combination of their values, at most 1,000 in all, "
        "and each is a full check of the file.",
    ),
    "E0862": Code(
        "script that was edited",
        "A script of `specdsl emit` or `specdsl train` says a hash of its text. Where the file was "
        "edited since, it is not overwritten unless `--force` is given: the edits would be lost.",
    ),
    "E0870": Code(
        "region that nothing can be bounded over",
        "A region given to `specdsl.bound` has finite ends for every input, shapes that fit the "
        "network, and at least one point.",
    ),
    "E0871": Code(
        "argument of `specdsl.bound`",
        "The network is the path of an ONNX file, a PyTorch module or a graph with one input and "
        "one output; methods, number formats and shapes are those of its documentation.",
    ),
    # --- E09 not supported yet ---
    "E0901": Code("not supported yet", "The language has this; this version cannot answer it yet."),
    "E0902": Code(
        "unknown language version",
        "The first line names a version of the language that this program does not read.",
    ),
    # --- E10 VNN-LIB ---
    "E1000": Code(
        "VNN-LIB syntax error",
        "Parentheses, brackets or quotes do not match, or a word stands outside any command. "
        "VNN-LIB is a sequence of forms such as `(declare-const X_0 Real)` and "
        "`(assert (<= X_0 0.5))`; version 2.0 begins with `(vnnlib-version <2.0>)`.",
    ),
    "E1001": Code(
        "VNN-LIB nested too deeply",
        "More parentheses are open at one place than any real query needs; the file is refused.",
    ),
    "E1002": Code(
        "unknown word in VNN-LIB",
        "Version 1.0 has `declare-const`, `declare-fun` and `assert`, formulas with `and`, `or`, "
        "`not` and `=>`, and `+`, `-`, `*` and `/`. Version 2.0 has `declare-network` and "
        "`assert`, formulas with `and` and `or`, and `+`, `-` and `*`.",
    ),
    "E1003": Code(
        "number in VNN-LIB out of range",
        "A literal has more digits or a larger exponent than any float64 could mean.",
    ),
    "E1004": Code(
        "variable not declared in VNN-LIB",
        "Each variable is declared before use. In version 1.0 inputs are `X_0`, `X_1`, ... and "
        "outputs `Y_0`, `Y_1`, ...; in version 2.0 they have the names their network gives them.",
    ),
    "E1005": Code(
        "declaration in VNN-LIB",
        "In version 1.0 each input and output is declared once, as `Real`, and the indices run "
        "from 0 without gaps. In version 2.0 a network declares its inputs, hidden values and "
        "outputs in this order, each with an element type and a shape.",
    ),
    "E1006": Code(
        "input without a bound",
        "Every input needs a lower and an upper bound in every case: over an unbounded set hardly "
        "any method can prove anything.",
    ),
    "E1007": Code(
        "query too large",
        "The disjunctions multiply out to more cases, or the cases hold more bounds, than this "
        "machine should take. Split the query.",
    ),
    "E1008": Code(
        "query not linear",
        "Constraints of VNN-LIB 1.0 are linear in inputs and outputs: products and quotients of "
        "variables cannot be said. Version 2.0 has products.",
    ),
    "E1009": Code(
        "query and network do not fit",
        "The query declares other inputs, outputs or hidden values, or other shapes, than the "
        "network has.",
    ),
    "E1010": Code(
        "index in VNN-LIB",
        "An entry of a variable is written with one index for each axis, counted from 0: "
        "`X[0,3]` for a variable of shape `[1,10]`, and `X` for a scalar.",
    ),
    "E1011": Code(
        "element types do not match",
        "Variables that are compared have one element type, and it is that of the network: "
        "`float32`, or `real`, which fits every floating-point type.",
    ),
    "E1012": Code(
        "networks of a query",
        "Each network that the query declares without `equal-to` needs one file, given by its "
        "name: `--network f=f.onnx`.",
    ),
    "E1013": Code(
        "VNN-LIB has no words for this",
        "VNN-LIB speaks about inputs, hidden values and outputs of networks by sums, products and "
        "comparisons of exact decimals; version 1.0 about one network and linear constraints. "
        "What a query asks beyond that cannot be written as a file without changing the question.",
    ),
    # --- E11 training ---
    "E1101": Code(
        "training broke down",
        "A term of what is minimised, or its gradient, became NaN or infinite; no step is taken "
        "with such numbers. Mostly steps are too long: lower the learning rate, clip gradients, or "
        "let the radius grow more slowly.",
    ),
    "E1102": Code(
        "checkpoint cannot be resumed",
        "The file is damaged, was written by another version, or belongs to a training with "
        "another text, data or networks. Resuming it would not give the weights that the training "
        "describes.",
    ),
    "E1103": Code(
        "not the log of a training",
        "A log has one JSON object a line, with the number of its epoch, as `specdsl train` "
        "writes it.",
    ),
    "E1104": Code(
        "picture of a training",
        "Pictures are drawn of logs with at least one epoch, end in `.svg` or `.png`, and need "
        "matplotlib.",
    ),
    "E1105": Code(
        "no GPU",
        "A training asks for `cuda`, and PyTorch sees no GPU. With `device = auto` it takes one "
        "where there is one, and the processor elsewhere.",
    ),
    "E1106": Code(
        "layer that cannot be trained",
        "A layer with its weights written out has nothing to train. Give its size alone, as in "
        "`dense(10)`, or import a whole network with `onnx(...)` and train that.",
    ),
    "E1110": Code(
        "trials that cannot be compared",
        "A sweep judges every trial by the same property on the same samples, which are neither "
        "trained on nor tested: those of `keep best ... on`, or of `--on`. Something must vary, "
        "and it must be how networks are trained, not what is certified of them.",
    ),
    "E1111": Code(
        "sweep cannot run",
        "A grid needs listed values, `tpe` needs optuna, and a folder holds one sweep: `--resume` "
        "goes on with it.",
    ),
    # --- warnings ---
    "W0750": Code(
        "vacuous property",
        "No input satisfies the conditions of the property, so it holds without saying anything. "
        "Usually a bound in `where` contradicts the space. Or a check ranges over a finite set "
        "without members, a slice beyond the last sample perhaps: it asks nothing.",
    ),
    "W0701": Code(
        "argument may leave its space",
        "The bounds of a space hold for variables that range over it, and nothing is clipped: a "
        "computed argument of a network may lie outside. Say `where ... in Space` to leave such "
        "points out, or nothing to keep them in.",
    ),
    "W0201": Code(
        "name hidden",
        "A variable has the name of something declared above, which it hides. Nothing is wrong,"
        " but readers may be misled.",
    ),
    "W0880": Code(
        "answers are not kept",
        "`check` keeps answers in `.specdsl_cache` where it runs, so that none is sought twice. "
        "The folder cannot be made or written there, has no room, or is damaged. Verdicts and the "
        "exit code are the same without it.",
    ),
    "W0881": Code(
        "witness without a certificate",
        "`--certificates` writes a file of each witness, too, for the independent checker to read. "
        "It has no rule for something in the question, or cannot tell margins from 0. The verdict "
        "does not rest on it: the point was replayed, exactly and on the network itself.",
    ),
    "W0901": Code(
        "no language version",
        "A spec begins with `spec 1.0`, so that later versions of the language can still read it.",
    ),
    "W0902": Code(
        "nothing is checked",
        "A property states something; `check` asks whether it holds. The file has properties, and "
        "no `check` and no query.",
    ),
    "W0903": Code(
        "trained by another text",
        "The file of a trained network bears the hash of the `train` block that made it, with all "
        "that the block names. The text has changed since: what is checked is not what it says.",
    ),
}
