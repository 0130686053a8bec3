"""Convolutions over images and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import bad_value, check_count
from bpfast.errors import ShapeError
from bpfast.layers.parameters import Parameter
from bpfast.layers.weighted import Weighted
from bpfast.layers.window import Extent, Window, check_extent, check_padding

if TYPE_CHECKING:
    from bpfast._graph import Graph
    from bpfast.constraints import Constraint
    from bpfast.layers.shapes import Shape
    from bpfast.layers.weighted import Init
    from bpfast.regularizers import Regularizer


class _Conv(Weighted):
    """What Conv1D and Conv2D share: a sequence is an image of height 1."""

    kind: ClassVar[str] = "conv"
    axes: ClassVar[int]

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        activation: str = "identity",
        *,
        strides: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = "valid",
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        weight_init: Init | None = None,
        bias_init: Init = "zeros",
        weight_regularizer: Regularizer | Mapping[str, Any] | None = None,
        bias_regularizer: Regularizer | Mapping[str, Any] | None = None,
        weight_constraint: Constraint | Mapping[str, Any] | str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            activation,
            use_bias=use_bias,
            weight_init=weight_init,
            bias_init=bias_init,
            weight_regularizer=weight_regularizer,
            bias_regularizer=bias_regularizer,
            weight_constraint=weight_constraint,
            name=name,
        )
        self.filters = check_count("filters", filters)
        self.kernel_size: Extent = check_extent("kernel_size", kernel_size, self.axes)
        self.strides: Extent = check_extent("strides", strides, self.axes)
        self.padding: str | Extent = check_padding(padding, self.axes)
        self.dilation: Extent = check_extent("dilation", dilation, self.axes)
        self.groups = check_count("groups", groups)
        if self.filters % self.groups:
            raise bad_value("groups", f"a divisor of filters = {self.filters}", groups)
        self._window().check()

    def _window(self) -> Window:
        return Window.of(self.axes, self.kernel_size, self.strides, self.dilation, self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the steps of the window, and the filters."""
        shape = self._window().output_shape(input_shape, self.filters)
        if input_shape[-1] % self.groups:
            raise ShapeError(
                f"has {self.groups} groups, got an input of shape {input_shape}, whose "
                f"{input_shape[-1]} channels they do not divide"
            )
        return shape

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        spec = {**self.weighted_spec(self.filters), "groups": self.groups}
        return {**spec, **self._window().spec(input_shape)}

    def weights(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return the kernel and the bias."""
        window = self._window().size[2 - self.axes :]
        return self.kernel_and_bias(
            (*window, input_shape[-1] // self.groups, self.filters), self.groups
        )

    def place(self, graph: Graph, value: int) -> int:
        """Put the layer behind a value of the graph; return the value that comes out."""
        out = super().place(graph, value)
        return graph.split_softmax(out)


class Conv2D(_Conv):
    """A convolution over images: y = activation(x * W + b).

    Output channel o at (i, j) is the sum over the kernel's positions u, v and input channels c of
    x[i s + u d, j s + v d, c] W[u, v, c, o], plus b[o], s the stride and d the dilation: the kernel
    is not flipped, as everywhere in this field.

    Parameters
    ----------
    filters : int
        Number of output channels, >= 1.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    activation : str, default "identity"
        One of `bpfast.activations.NAMES`.
    strides : int or (int, int), default 1
        Positions from one output to the next.
    padding : "valid", "same", int or (int, int), default "valid"
        Positions of zeros around the image: none; as many as give ceil(size / stride) outputs, half
        of them (rounded down) before (Keras; PyTorch where the stride is 1); or so many on each
        side, fewer than the kernel spans.
    dilation : int or (int, int), default 1
        Positions between neighbours in the kernel; 1 leaves no holes.
    groups : int, default 1
        Channels are cut into so many parts, each with its own filters; as many groups as input
        channels make a depthwise convolution, which with ``Conv2D(filters, 1)`` behind it is a
        depthwise separable one (Chollet 2017).
    use_bias : bool, default True
        False leaves out b.
    weight_init : str, Initializer, array_like or callable, optional
        How W starts; see `bpfast.initializers`. Fan-in is height * width * inputs / groups, fan-out
        height * width * filters / groups. None means he_normal before an activation like relu
        (He et al. 2015), else glorot_uniform (Glorot & Bengio 2010).
    bias_init : str, Initializer, array_like or callable, default "zeros"
        How b starts.
    weight_regularizer, bias_regularizer : Regularizer, optional
        Penalties on W and on b; see `bpfast.regularizers`.
    weight_constraint : Constraint or str, optional
        A limit that W keeps; see `bpfast.constraints`. MaxNorm is of all weights of a filter.
    name : str, optional
        Name of the layer; its parameters are ``name.kernel`` and ``name.bias``.

    Attributes
    ----------
    trainable : bool
        False keeps W and b as they are in training. May be set at any time, as may `lr_scale`; see
        `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (rows, height, width, channels), output shape (rows, height', width', filters).
    Kernel W (kernel height, kernel width, channels / groups, filters) as in Keras (PyTorch's weight
    is (filters, channels / groups, kernel height, kernel width)), bias b (filters,). Zeros of the
    padding take part in the sums like any other input.

    References
    ----------
    LeCun et al. 1998, Gradient-based learning applied to document recognition.
    Chollet 2017, Xception: deep learning with depthwise separable convolutions.
    """

    axes: ClassVar[int] = 2


class Conv1D(_Conv):
    """A convolution over sequences: y = activation(x * W + b).

    As `Conv2D`, along one axis; all numbers are ints.

    Parameters
    ----------
    filters : int
        Number of output channels, >= 1.
    kernel_size : int
        Length of the kernel.
    activation : str, default "identity"
        One of `bpfast.activations.NAMES`.
    strides : int, default 1
        Positions from one output to the next.
    padding : "valid", "same" or int, default "valid"
        Positions of zeros before and behind the sequence.
    dilation : int, default 1
        Positions between neighbours in the kernel; 1 leaves no holes.
    groups : int, default 1
        Channels are cut into so many parts, each with its own filters.
    use_bias : bool, default True
        False leaves out b.
    weight_init, bias_init, weight_regularizer, bias_regularizer, weight_constraint
        As of `Conv2D`.
    name : str, optional
        Name of the layer; its parameters are ``name.kernel`` and ``name.bias``.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (rows, length, channels), output shape (rows, length', filters). Kernel W (kernel
    length, channels / groups, filters) as in Keras (PyTorch's weight has them the other way round),
    bias b (filters,).

    References
    ----------
    Waibel et al. 1989, Phoneme recognition using time-delay neural networks.
    """

    axes: ClassVar[int] = 1
