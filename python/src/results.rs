//! What Python is given: tuples with names, and NumPy arrays.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use vit_gpu::Prediction;

/// A class of `vit_gpu/_types.py`.
fn class<'py>(py: Python<'py>, cell: &PyOnceLock<Py<PyType>>, name: &str) -> PyResult<Bound<'py, PyType>> {
    cell.import(py, "vit_gpu._types", name).cloned()
}

/// The classes of one image as a list of `Prediction(index, label, score)`.
pub fn predictions<'py>(py: Python<'py>, predictions: Vec<Prediction>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = class(py, &CLASS, "Prediction")?;
    predictions.into_iter().map(|one| class.call1((one.index, one.label, one.score))).collect()
}

/// A float32 array `[N, …]` of one row per image; a row without a result is all NaN.
pub fn rows<'py>(
    py: Python<'py>,
    rows: Vec<Option<Vec<f32>>>,
    shape_of_row: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let (count, len) = (rows.len(), shape_of_row.iter().product::<usize>());
    let values = py.detach(|| {
        let mut values = Vec::with_capacity(count * len);
        for row in rows {
            match row {
                Some(row) => values.extend(row),
                None => values.resize(values.len() + len, f32::NAN),
            }
        }
        values
    });
    let shape: Vec<usize> = [&[count], shape_of_row].concat();
    PyArray1::from_vec(py, values).reshape(shape)
}

/// The Vulkan, Metal and DX12 adapters of this machine, in a stable order, as a list of `Adapter`.
#[pyfunction]
pub fn adapters(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = class(py, &CLASS, "Adapter")?;
    let adapters = py.detach(vit_gpu::adapters);
    let one = |(index, adapter): (usize, vit_gpu::Adapter)| {
        let is_software = adapter.is_software();
        class.call1((index, adapter.name, adapter.kind, adapter.backend, adapter.driver, adapter.f16, is_software))
    };
    adapters.into_iter().enumerate().map(one).collect()
}
