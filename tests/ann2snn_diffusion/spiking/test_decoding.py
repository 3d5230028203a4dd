import numpy as np

from ann2snn_diffusion.spiking.decoding import activation_of_spikes

SPIKES = np.array([[[1], [0]], [[0], [-1]], [[-1], [0]]], np.int8)  # 4 − 1 and −2
THRESHOLD, OFFSET = np.array([[7.0], [14.0]], np.float32), np.array([[0.5], [0.0]], np.float32)


def test_spikes_weigh_their_steps() -> None:
    found = activation_of_spikes(SPIKES, THRESHOLD, OFFSET, (4, 2, 1))
    assert found.tolist() == [[3.5], [-4.0]]
    assert found.dtype == np.float32


def test_learned_amplitudes_stand_in_for_step_weights_but_not_in_the_unit() -> None:
    found = activation_of_spikes(SPIKES, THRESHOLD, OFFSET, (4, 2, 1), (5, 2, 1))
    assert found.tolist() == [[4.5], [-4.0]]
